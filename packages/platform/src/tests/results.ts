/**
 * What suites ended with, by the content that they tested: a folder for each, with `result.json`, `output.log` and `reports/`, in
 * the cache. One that has not been used for 30 days is removed.
 */
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import type { TestCounts, TestFailure } from "./junit.ts";
import type { Level } from "./levels.ts";

export interface TestResult {
  service: string;
  level: Level;
  /** `error`: the tests could not be run, or not to their end by what was no fault of theirs. */
  outcome: "passed" | "failed" | "error";
  /** It is of an earlier run with the same content. */
  cached: boolean;
  /** When they ran, RFC 3339. */
  ranAt: string;
  durationMs: number;
  /** None where they did not end by themselves. */
  exitCode?: number;
  /** What ended them, where it was not they: `timeout`, `OOMKilled`, … */
  reason?: string;
  /** From JUnit XML; none where they wrote none. */
  tests?: TestCounts;
  failures: TestFailure[];
  /** Of their output; none where they passed. */
  lastLines: string[];
  /** What else is to be known, such as reports that cannot be read. */
  notes: string[];
  /** Why they could not be run; of the outcome `error` alone. */
  error?: { code: string; message: string; at?: string; fix?: string };
  /** The folder that has `output.log` and `reports/`. */
  folder?: string;
  /** Where they ran, when it was kept. */
  namespace?: string;
}

const keptMs = 30 * 24 * 3_600_000;

/** The key of what is tested: any JSON. */
export function contentKey(content: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify(["kws tests 1", content]))
    .digest("hex")
    .slice(0, 40);
}

export class ResultStore {
  readonly #folder: string;

  /** `cache` is the folder of all caches. */
  constructor(cache: string) {
    this.#folder = join(cache, "tests");
  }

  async find(key: string): Promise<TestResult | undefined> {
    const folder = join(this.#folder, key);
    try {
      const result = JSON.parse(await readFile(join(folder, "result.json"), "utf8")) as TestResult;
      const now = new Date();
      await utimes(folder, now, now);
      return { ...result, cached: true, folder };
    } catch (error) {
      // One that was cut short counts as none.
      if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** Where a suite's files are gathered before they are kept. */
  async workFolder(): Promise<{ path: string } & AsyncDisposable> {
    await mkdir(this.#folder, { recursive: true });
    return tempDir("run", this.#folder);
  }

  /** Moves the folder to its place, instead of what was there. Answers the result with that place. */
  async keep(key: string, result: TestResult, folder: string): Promise<TestResult> {
    await writeFile(join(folder, "result.json"), JSON.stringify(result));
    const target = join(this.#folder, key);
    await rm(target, { recursive: true, force: true });
    try {
      await rename(folder, target);
    } catch (error) {
      // Another run of the same content was quicker.
      if (!isErrno(error, "ENOTEMPTY", "EEXIST")) throw error;
    }
    await this.#prune();
    return { ...result, folder: target };
  }

  async #prune(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      try {
        if (Date.now() - (await stat(path)).mtimeMs > keptMs)
          await rm(path, { recursive: true, force: true });
      } catch (error) {
        // Another run was quicker.
        if (!isErrno(error, "ENOENT")) throw error;
      }
    }
  }
}

/** Copies the output and the reports of results to `<to>/<service>/<level>`, in place of earlier ones. */
export async function exportResults(results: TestResult[], to: string): Promise<void> {
  for (const { service, level, folder } of results) {
    if (folder === undefined) continue;
    const target = join(to, service, level);
    await rm(target, { recursive: true, force: true });
    await cp(folder, target, { recursive: true });
  }
}
