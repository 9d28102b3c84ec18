/** Two folders of this machine, and between them the far side's commands, run by a shell of this machine. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { processRemote, type Remote, type RemoteProcess } from "../remote.ts";
import { absolute } from "../scan.ts";
import { startSync, type Sync, type SyncBatch, type SyncOptions, type SyncProblem } from "../sync.ts";

export interface Pair extends AsyncDisposable {
  near: string;
  far: string;
  batches: SyncBatch[];
  problems: SyncProblem[];
  /** The shells on the far side, in the order of their start. */
  shells: RemoteProcess[];
  start(options?: Partial<SyncOptions>): Promise<Sync>;
}

export async function makePair(): Promise<Pair> {
  const folder = await tempDir("kws-sync");
  const near = join(folder.path, "near");
  const far = join(folder.path, "far");
  await mkdir(near);
  await mkdir(far);
  const syncs: Sync[] = [];
  const shells: RemoteProcess[] = [];
  const batches: SyncBatch[] = [];
  const problems: SyncProblem[] = [];
  const remote: Remote = {
    name: "container test",
    open(command) {
      const shell = processRemote(command[0] ?? "", command.slice(1), { PATH: process.env["PATH"] });
      shells.push(shell);
      return shell;
    },
  };
  return {
    near,
    far,
    batches,
    problems,
    shells,
    async start(options = {}) {
      const sync = await startSync({
        local: near,
        folder: far,
        remote,
        direction: "both",
        onBatch: (batch) => batches.push(batch),
        onProblem: (problem) => problems.push(problem),
        ...options,
      });
      syncs.push(sync);
      await sync.ready;
      return sync;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(syncs.map((sync) => sync.stop()));
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Everything below a folder, by path in bytes: its kind, permission to execute and content. */
export function picture(root: string, without?: RegExp): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (folder: string): void => {
    for (const name of readdirSync(absolute(root, folder), { encoding: "latin1" })) {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (without?.test(path) === true) continue;
      const place = absolute(root, path);
      const stats = lstatSync(place);
      if (stats.isSymbolicLink()) found[path] = `link ${readlinkSync(place, "latin1")}`;
      else if (stats.isDirectory()) found[path] = "folder";
      else
        found[path] = `${(stats.mode & 0o100) === 0 ? "file" : "program"} ${readFileSync(place, "latin1")}`;
      if (stats.isDirectory()) visit(path);
    }
  };
  visit("");
  return Object.fromEntries(
    Object.keys(found)
      .toSorted()
      .map((path) => [path, found[path] ?? ""]),
  );
}
