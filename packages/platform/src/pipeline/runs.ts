/** The runs of this machine: a folder for each, with the logs and artefacts of its jobs, `holder` while it is made, and `run.json` when it has ended. One goes 30 days after it ended. */
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import { isGone, processName } from "@kws/base/process";
import type { Holder } from "../services/lease.ts";
import type { RunResult } from "./run.ts";

export interface Runs {
  /** Of one run; it need not exist yet. */
  folder(run: string): string;
  logFolder(run: string, job: string): string;
  /** The jobs that have a log; undefined where there is no such run. Also of a run that has not ended, or never will. */
  logged(run: string): Promise<string[] | undefined>;
  /** Says whose it is, before anything of it is there. */
  begin(run: string, holder: Holder): Promise<void>;
  /** Whether nothing more will come of it: it has ended, or its process is no more. */
  isOver(run: string, host: string): Promise<boolean>;
  save(result: RunResult): Promise<void>;
  /** Those that have ended, the newest first. */
  list(): Promise<RunResult[]>;
  prune(now: number): Promise<void>;
}

const keptMs = 30 * 24 * 3_600_000;

/** `data` is the folder of all data. */
export function openRuns(data: string): Runs {
  const root = join(data, "pipelines");
  const within = (folder: string): Promise<string[]> =>
    readdir(folder).catch((error: unknown): string[] => {
      if (isErrno(error, "ENOENT")) return [];
      throw error;
    });
  const names = () => within(root);
  const read = async (run: string): Promise<RunResult | undefined> => {
    try {
      return JSON.parse(await readFile(join(root, run, "run.json"), "utf8")) as RunResult;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw error;
    }
  };
  return {
    folder: (run) => join(root, run),
    logFolder: (run, job) => join(root, run, "logs", job),
    async logged(run) {
      if (!(await names()).includes(run)) return undefined;
      const order = (await read(run))?.jobs.map(({ job }) => job) ?? [];
      const jobs = await within(join(root, run, "logs"));
      return jobs.sort((a, b) => order.indexOf(a) - order.indexOf(b));
    },
    async begin(run, { host, pid }) {
      await mkdir(join(root, run), { recursive: true });
      await replaceFile(join(root, run, "holder"), processName(host, pid));
    },
    async isOver(run, host) {
      if ((await read(run)) !== undefined) return true;
      try {
        return isGone(await readFile(join(root, run, "holder"), "utf8"), host);
      } catch (error) {
        if (isErrno(error, "ENOENT")) return true;
        throw error;
      }
    },
    async save(result) {
      await mkdir(join(root, result.run), { recursive: true });
      await replaceFile(join(root, result.run, "run.json"), JSON.stringify(result));
    },
    async list() {
      const found = await Promise.all((await names()).map(read));
      return found.filter((run) => run !== undefined).sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
    },
    async prune(now) {
      for (const name of await names()) {
        const { mtimeMs } = await stat(join(root, name));
        if (now - mtimeMs > keptMs) await rm(join(root, name), { recursive: true, force: true });
      }
    },
  };
}
