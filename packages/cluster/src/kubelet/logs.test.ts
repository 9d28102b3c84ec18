import { appendFile, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ContainerLog } from "./runtimes/sandbox/log.ts";
import { readLog, tailOffset, type ReadLogOptions } from "./logs.ts";

let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "logs-"));
  path = join(dir, "0.log");
});

afterEach(() => rm(dir, { recursive: true, force: true }));

async function read(options: ReadLogOptions = {}): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readLog(path, options)) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

const line = (second: number, text: string, tag = "F") =>
  `2026-01-01T00:00:0${second}.000000000Z stdout ${tag} ${text}\n`;

test("partial lines are joined and timestamps shown on request", async () => {
  await writeFile(path, line(1, "a", "P") + line(1, "b") + line(2, "c"));
  expect(await read()).toBe("ab\nc\n");
  expect(await read({ timestamps: true, tailLines: 1 })).toBe("2026-01-01T00:00:02.000000000Z c\n");
});

test("tail reads from the end over several chunks", async () => {
  const lines = Array.from({ length: 5000 }, (_, index) => line(1, `line ${index} ${"x".repeat(40)}`));
  await writeFile(path, lines.join(""));
  const text = await read({ tailLines: 2000 });
  expect(text.split("\n").length - 1).toBe(2000);
  expect(text.startsWith("line 3000 ")).toBe(true);
  expect(await read({ tailLines: 0 })).toBe("");
  await using file = await open(path);
  expect(await tailOffset(file, 10_000)).toBe(0);
});

test("since leaves out older lines and limitBytes cuts exactly", async () => {
  await writeFile(path, line(1, "old") + line(5, "new"));
  expect(await read({ since: Date.parse("2026-01-01T00:00:03Z") })).toBe("new\n");
  expect(await read({ limitBytes: 5 })).toBe("old\nn");
});

test("a followed log goes on until the container has exited, and misses nothing that it wrote last", async () => {
  await writeFile(path, line(1, "first"));
  const exit = Promise.withResolvers<void>();
  let runs = true;
  const log = readLog(path, { follow: { isRunning: () => runs, exited: exit.promise } });
  expect(Buffer.from((await log.next()).value ?? []).toString()).toBe("first\n");
  const next = log.next();
  await appendFile(path, line(2, "second"));
  expect(Buffer.from((await next).value ?? []).toString()).toBe("second\n");
  const last = log.next();
  await appendFile(path, line(3, "third"));
  runs = false;
  exit.resolve();
  expect(Buffer.from((await last).value ?? []).toString()).toBe("third\n");
  expect((await log.next()).done).toBe(true);
});

test("a followed log goes on in the files that it is rotated to", async () => {
  const log = new ContainerLog(path, 2000);
  const exit = Promise.withResolvers<void>();
  let runs = true;
  const following = readLog(path, { follow: { isRunning: () => runs, exited: exit.promise } });
  const all: string[] = [];
  const write = (count: number) => {
    for (let index = 0; index < count; index++) {
      all.push(`line ${all.length}\n`);
      log.write("stdout", Buffer.from(all.at(-1) ?? ""));
    }
  };
  write(1);
  const seen: string[] = [];
  for await (const chunk of following) {
    seen.push(Buffer.from(chunk).toString());
    // Less than two rotations at a time.
    if (seen.length === all.length && all.length < 300) write(50);
    else if (seen.length === all.length) {
      runs = false;
      exit.resolve();
    }
  }
  log.close();
  expect(seen).toEqual(all);
});
