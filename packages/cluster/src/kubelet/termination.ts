/** What a container leaves behind when it ends (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/). */
import { open } from "node:fs/promises";
import { isErrno, messageOf } from "@kws/base/errors";
import { logPathOf, terminationPathOf } from "./create.ts";
import { readLogEnd } from "./logs.ts";
import type { PodContainer } from "./pod.ts";
import type { ContainerRun } from "./record.ts";

/** At most 4096 bytes of the message file or, where the container asks for it and has failed, the end of its log. */
export async function terminationMessage(
  podDir: string,
  spec: PodContainer,
  run: ContainerRun,
  exitCode: number,
): Promise<string> {
  try {
    const path = terminationPathOf(podDir, spec.name, run.attempt);
    const text = await readStart(path, 4096);
    const fallsBack = spec.terminationMessagePolicy === "FallbackToLogsOnError";
    if (text !== "" || !fallsBack || exitCode === 0) return text;
    return await readLogEnd(logPathOf(podDir, spec.name, run.attempt));
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    return `cannot read the termination message: ${messageOf(error)}`;
  }
}

/** The container may have made the file as large as it likes. */
async function readStart(path: string, bytes: number): Promise<string> {
  const file = await open(path);
  try {
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(buffer, 0, bytes, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
