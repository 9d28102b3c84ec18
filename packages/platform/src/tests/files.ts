/** The files that tests wrote, copied out of their pod: a tar stream from elsewhere, so only plain files, and so many bytes. */
import { mkdir } from "node:fs/promises";
import { once } from "node:events";
import { messageOf } from "@kws/base/errors";
import type { Remote } from "../dev/sync/remote.ts";

const limits = { total: 128 * 1024 * 1024, files: 5000 };

/** Copies a folder of the far side; answers what is to be told of it, also that it failed or took longer than the signal allows. */
export async function copyFolder(
  remote: Remote,
  from: string,
  { to, signal }: { to: string; signal: AbortSignal },
): Promise<string[]> {
  const { Unpack } = await import("tar");
  await mkdir(to, { recursive: true });
  const process = await remote.open(["tar", "-cf", "-", "-C", from, "."]);
  const onAbort = () => process.kill();
  signal.addEventListener("abort", onAbort, { once: true });
  process.stdin.end();
  let said = "";
  process.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1000)));
  let [total, files] = [0, 0];
  const notes: string[] = [];
  const unpack = new Unpack({
    cwd: to,
    preserveOwner: false,
    noMtime: true,
    filter(path, entry) {
      if (!("type" in entry) || (entry.type !== "File" && entry.type !== "OldFile")) return false;
      entry.mode = 0o644;
      total += entry.size;
      files++;
      if (total <= limits.total && files <= limits.files) return true;
      if (notes.length === 0) {
        notes.push(
          `the reports from ${path} on were not copied: there are more than ${limits.total / 1024 / 1024} MB or ${limits.files} files`,
        );
      }
      return false;
    },
  });
  try {
    const unpacked = once(unpack, "close", { signal });
    // It is waited for below; until then a failure is none that nobody looks at.
    unpacked.catch(() => undefined);
    for await (const chunk of process.stdout) {
      if (!unpack.write(chunk as Buffer)) await Promise.race([once(unpack, "drain"), unpacked]);
    }
    unpack.end();
    await unpacked;
    const code = await process.ended;
    if (code !== 0) notes.push(`the reports cannot be copied: ${said.trim() || "tar did not end well"}`);
  } catch (error) {
    process.kill();
    await process.ended;
    notes.push(`the reports cannot be copied: ${said.trim() || messageOf(error)}`);
  } finally {
    signal.removeEventListener("abort", onAbort);
    process.kill();
  }
  return notes;
}
