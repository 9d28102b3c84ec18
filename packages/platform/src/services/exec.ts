/** Running a command in a service's container: which pod, and the arguments for kubectl, which knows terminals. */
import { Transform } from "node:stream";
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import type { Connection } from "../providers/provider.ts";
import type { Release } from "./releases.ts";
import { readNamespace, workloadsOf } from "./workloads.ts";

export interface ExecRequest {
  release: Release;
  command: string[];
  container?: string;
  tty: boolean;
}

/** kubectl's arguments for the first running pod of the service. */
export async function execArguments(connection: Connection, request: ExecRequest): Promise<string[]> {
  const { release, container, tty } = request;
  const pod = await runningPod(connection, release);
  const args = [...kubectlTarget(connection, release), "exec", "--quiet", "--stdin"];
  if (tty) args.push("--tty");
  if (container !== undefined) args.push("--container", container);
  return [...args, pod.metadata.name, "--", ...request.command];
}

/** Where kubectl finds the release. */
export function kubectlTarget({ kubeconfig }: Connection, { namespace }: Release): string[] {
  const args = ["--kubeconfig", kubeconfig.path, "--namespace", namespace];
  return kubeconfig.context === undefined ? args : [...args, "--context", kubeconfig.context];
}

/** The service's first ready pod, or one that at least runs. */
export async function runningPod(connection: Connection, release: Release): Promise<KubeObject> {
  const workloads = workloadsOf(await readNamespace(connection.client, release.namespace), release.service);
  const running = workloads
    .flatMap((workload) => workload.pods)
    .filter((pod) => pod["status"]?.phase === "Running" && pod.metadata.deletionTimestamp === undefined);
  const isReady = (pod: (typeof running)[number]) =>
    ((pod["status"]?.containerStatuses ?? []) as { ready?: boolean }[]).every(({ ready }) => ready === true);
  const pod = running.find(isReady) ?? running[0];
  if (pod === undefined) {
    throw new UserError(`${release.service} has no running pod`, {
      code: "not-found",
      fix: `See \`kws service status ${release.service} --stack ${release.stack}\`.`,
    });
  }
  return pod;
}

const exitWords = "command terminated with exit code ";
const exitNote = new RegExp(`^${exitWords}\\d+\\n$`);

/**
 * kubectl's standard error without its last words, which say the exit code (also with `--quiet`). Only what may be the
 * beginning of them is held back; all else goes through at once.
 */
export function withoutExitNote(): Transform {
  let held = "";
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const text = held + chunk.toString("latin1");
      let cut = Math.max(0, text.length - exitWords.length - 8);
      while (!mayBecomeNote(text.slice(cut))) cut++;
      held = text.slice(cut);
      done(null, Buffer.from(text.slice(0, cut), "latin1"));
    },
    flush(done) {
      done(null, exitNote.test(held) ? undefined : Buffer.from(held, "latin1"));
    },
  });
}

function mayBecomeNote(text: string): boolean {
  return exitWords.startsWith(text) || exitNote.test(text) || exitNote.test(`${text}\n`);
}
