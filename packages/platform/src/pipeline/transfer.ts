/** Archives into a step's pod and out of it: tar streams through `exec`. Nothing of them is unpacked on this machine. */
import type { Readable } from "node:stream";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { messageOf, UserError } from "@kws/base/errors";
import type { Remote, RemoteProcess } from "../dev/sync/remote.ts";
import type { Blobs } from "./blobs.ts";
import { controlFolder, workspaceFolder } from "./pods.ts";

const outputsLimit = 64 * 1024;
const alreadyThere = 9;

/** Unpacks an archive in the sources' folder. */
export async function unpack(remote: Remote, archive: Readable, signal: AbortSignal): Promise<void> {
  await send(remote, `tar -xf - -C ${workspaceFolder}`, archive, signal);
}

/** Unpacks the sources; false where the step has begun, and its files are there. */
export async function unpackSources(
  remote: Remote,
  archive: Readable,
  signal: AbortSignal,
): Promise<boolean> {
  const script = `[ -e ${controlFolder}/ready ] && exit ${alreadyThere}; tar -xf - -C ${workspaceFolder}`;
  return (await send(remote, script, archive, signal, [0, alreadyThere])) === 0;
}

/** Lets the step begin. */
export async function release(remote: Remote, signal: AbortSignal): Promise<void> {
  await send(remote, `: > ${controlFolder}/ready`, undefined, signal);
}

/** Keeps the paths that exist; false where none does. */
export async function pack(
  remote: Remote,
  paths: string[],
  to: { blobs: Blobs; key: string },
  signal: AbortSignal,
): Promise<boolean> {
  const script = `cd ${workspaceFolder} || exit 1
for path; do shift; [ -e "$path" ] && set -- "$@" "$path"; done
[ $# -gt 0 ] || exit ${alreadyThere}
tar -cf - -- "$@"`;
  const process = await open(remote, ["sh", "-c", script, "sh", ...paths], signal);
  process.stdin.end();
  let code: number | undefined;
  const kept = await to.blobs.write(to.key, process.stdout, async () => (code = await process.ended) === 0);
  if (kept || code === alreadyThere) return kept;
  signal.throwIfAborted();
  throw failed(`${paths.join(", ")} cannot be read`, process);
}

/** What the step wrote to `$KWS_OUTPUTS`: `name=value` lines. */
export async function readOutputs(
  remote: Remote,
  names: string[],
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const script = `[ ! -e ${controlFolder}/outputs ] || head -c ${outputsLimit} ${controlFolder}/outputs`;
  const process = await open(remote, ["sh", "-c", script], signal);
  process.stdin.end();
  let text = "";
  for await (const chunk of process.stdout) text += String(chunk);
  if ((await process.ended) !== 0) {
    signal.throwIfAborted();
    throw failed("the outputs cannot be read", process);
  }
  const found = text.split("\n").flatMap((line): [string, string][] => {
    const equals = line.indexOf("=");
    const name = line.slice(0, equals);
    return equals > 0 && names.includes(name) ? [[name, line.slice(equals + 1)]] : [];
  });
  return Object.fromEntries(found);
}

interface Opened extends RemoteProcess {
  said: () => string;
}

async function open(remote: Remote, command: string[], signal: AbortSignal): Promise<Opened> {
  signal.throwIfAborted();
  const process = await remote.open(command);
  let said = "";
  process.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1000)));
  const onAbort = () => process.kill();
  signal.addEventListener("abort", onAbort, { once: true });
  const ended = process.ended.finally(() => signal.removeEventListener("abort", onAbort));
  return { ...process, ended, said: () => said.trim() };
}

/** Answers the exit code, one of those that are expected. */
async function send(
  remote: Remote,
  script: string,
  input: Readable | undefined,
  signal: AbortSignal,
  expected: number[] = [0],
): Promise<number> {
  const process = await open(remote, ["sh", "-c", script], signal);
  process.stdout.resume();
  const written = pipeline(input ?? new PassThrough().end(), process.stdin).then(
    () => undefined,
    (error: unknown) => error,
  );
  const code = await process.ended;
  input?.destroy();
  const fault = await written;
  if (code !== undefined && expected.includes(code)) return code;
  signal.throwIfAborted();
  throw failed("the files cannot be brought into the step's pod", process, fault);
}

function failed(what: string, process: Opened, fault?: unknown): UserError {
  const why = process.said() || (fault === undefined ? "the connection was lost" : messageOf(fault));
  return new UserError(`${what}: ${why}`, { fix: "The step's image needs `sh` and `tar`." });
}
