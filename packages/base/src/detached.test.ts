import { readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type DetachedOptions, startDetached } from "./detached.ts";
import { identify, signalProcess, waitForExit } from "./process.ts";
import { tempDir, type TempDir } from "./tempdir.ts";

let dir: TempDir;
beforeEach(async () => void (dir = await tempDir("kws-test")));
afterEach(() => dir[Symbol.asyncDispose]());

async function program(source: string, more: Partial<DetachedOptions> = {}): Promise<DetachedOptions> {
  const path = join(dir.path, "program.js");
  const says = `const { writeFileSync, writeSync } = require("node:fs");
const say = (message) => writeSync(3, JSON.stringify(message) + "\\n");
writeFileSync(${JSON.stringify(join(dir.path, "pid"))}, String(process.pid));
`;
  await writeFile(path, says + source);
  return {
    what: "the program",
    args: [path],
    cwd: dir.path,
    env: process.env,
    log: join(dir.path, "log"),
    timeoutMs: 30_000,
    giveUp: { signal: "SIGTERM", timeoutMs: 10_000 },
    ...more,
  };
}
const started = () => identify(Number(readFileSync(join(dir.path, "pid"), "utf8")));

test("a program that is ready runs on, and its later end is nobody's failure", async () => {
  const folder = join(dir.path, "of its own");
  await mkdir(folder);
  await startDetached(
    await program('say({ type: "ready" }); setInterval(() => {}, 1000)', { log: join(folder, "log") }),
  );
  const running = started();
  expect(running).toBeDefined();
  await rm(folder, { recursive: true });
  if (running === undefined) return;
  signalProcess(running, "SIGKILL");
  expect(await waitForExit(running, 10_000)).toBe(true);
});

test("one that says why it cannot start is told in its words", async () => {
  const options = await program('say({ type: "failed", message: "no port is free", code: "conflict" })');
  await expect(startDetached(options)).rejects.toMatchObject({
    message: "no port is free",
    code: "conflict",
    fix: expect.stringContaining(options.log),
  });
});

test("one that crashes is told with its last lines", async () => {
  const options = await program('console.error("one"); console.error("two"); process.exit(3)');
  await expect(startDetached(options)).rejects.toThrow(/the program ended while it was starting:\none\ntwo$/);
});

test("one that does not become ready in its time, or that nobody wants any more, has ended", async () => {
  const deaf = 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)';
  await expect(
    startDetached(await program(deaf, { timeoutMs: 1000, giveUp: { signal: "SIGTERM", timeoutMs: 200 } })),
  ).rejects.toMatchObject({ code: "timeout" });
  expect(started()).toBeUndefined();
  const stop = new AbortController();
  const starting = startDetached(await program("setInterval(() => {}, 1000)", { signal: stop.signal }));
  stop.abort(new Error("enough"));
  await expect(starting).rejects.toThrow("enough");
});
