/**
 * Synchronisation of 50,000 files with a folder of this machine: the far side's commands are those of a container, without the
 * way to it. Plain tar is what the first transfer is measured against.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { isErrno } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import { processRemote } from "@kws/platform/dev/sync/remote";
import { startSync } from "@kws/platform/dev/sync/sync";
import { type Measurement, repeat, summarize, time } from "./measure.ts";

const files = 50_000;
const perFolder = 50;

export async function measure(): Promise<Measurement[]> {
  await using folder = await tempDir("kws-bench-sync");
  const near = join(folder.path, "near");
  for (let count = 0; count < files; count++) {
    const place = join(near, `${Math.floor(count / 1000)}`, `${Math.floor(count / perFolder)}`);
    if (count % perFolder === 0) mkdirSync(place, { recursive: true });
    writeFileSync(join(place, `${count}.js`), `export const value = ${count};\n`.repeat(20));
  }
  const tarred = join(folder.path, "tarred");
  await mkdir(tarred);
  const script = `tar -C "$1" -cf - . | tar -C "$2" -xpof -`;
  const tar = await time(() => promisify(execFile)("sh", ["-c", script, "sh", near, tarred]));
  const far = join(folder.path, "far");
  const started = performance.now();
  const sync = await startSync({
    local: near,
    folder: far,
    direction: "up",
    remote: {
      name: "folder",
      open: ([file, ...args]) => processRemote(file ?? "", args, { PATH: process.env["PATH"] }),
    },
  });
  const watching = performance.now() - started;
  await sync.ready;
  const first = performance.now() - started;
  let turn = 0;
  const one = await repeat(30, async () => {
    const path = `${turn % 50}/${(turn % 50) * 20}/${(turn % 50) * 1000}.js`;
    const text = `export const turn = ${turn++};\n`;
    return time(async () => {
      writeFileSync(join(near, path), text);
      while (contentOf(join(far, path)) !== text) await new Promise(setImmediate);
    });
  });
  const idle = await repeat(3, async () => {
    const before = process.cpuUsage();
    const span = await time(() => new Promise((resolve) => setTimeout(resolve, 3000)));
    const used = process.cpuUsage(before);
    return (used.user + used.system) / 10 / span;
  });
  await sync.stop();
  return [
    summarize("sync: 50,000 files read and watched", "ms", [watching]),
    summarize("sync: first transfer of 50,000 files", "ms", [first]),
    summarize("tar | tar of the same files", "ms", [tar]),
    summarize("sync: one changed file among 50,000", "ms", one, { atMost: 100 }),
    summarize("sync: idle CPU of a watching session", "percent of a core", idle, { atMost: 1 }),
    summarize("sync: memory of the process", "MB", [process.memoryUsage().rss / 1e6]),
  ];
}

/** tar removes a file before it writes the new one. */
function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
