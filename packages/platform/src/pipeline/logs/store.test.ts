import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readLog, type ReadOptions } from "./read.ts";
import { longestLine, openLog, readIndex } from "./store.ts";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir("kws-log");
});
afterEach(() => dir[Symbol.asyncDispose]());

let now = 0;
const clock = () => ++now;
const options = { clock };

async function texts(options: ReadOptions = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { text } of readLog(dir.path, options)) found.push(text);
  return found;
}

/** As many lines as several blocks have. */
const many = Array.from({ length: 20_000 }, (_, index) => `line ${index} ${"·".repeat(20)}`);

test("lines come back in order with their numbers, out of compressed blocks and the rest", async () => {
  await using log = await openLog(dir.path, options);
  for (let at = 0; at < many.length; at += 500) await log.write(`${many.slice(at, at + 500).join("\n")}\n`);
  expect(await texts()).toEqual(many);
  const blocks = await readIndex(dir.path);
  expect(blocks.length).toBeGreaterThan(2);
  expect((await stat(join(dir.path, "blocks"))).size).toBeLessThan(many.join("\n").length / 4);
  expect(await texts({ from: 19_998 })).toEqual(many.slice(19_998));
  expect(await texts({ from: 5000, limit: 2 })).toEqual(many.slice(5000, 5002));
  expect(await texts({ grep: "line 1234 " })).toEqual([many[1234]]);
  await log.end();
  expect(await texts({ follow: true })).toEqual(many);
});

test("chunks need not end with lines, and a line without end is cut", async () => {
  await using log = await openLog(dir.path, options);
  await log.write("a");
  expect(await texts()).toEqual([]);
  await log.write("b\n\nc");
  expect(await texts()).toEqual(["ab", ""]);
  await log.write("x".repeat(2 * longestLine));
  await log.end();
  const all = await texts();
  expect(all.map(({ length }) => length)).toEqual([2, 0, longestLine, longestLine, 1]);
});

test("a reader follows until the end", async () => {
  await using log = await openLog(dir.path, options);
  await log.write("first\n");
  const seen: string[] = [];
  for await (const { text } of readLog(dir.path, { follow: true })) {
    seen.push(text);
    if (text === "first") await log.write(`${many.join("\n")}\nlast\n`);
    if (text === "last") await log.end();
  }
  expect(seen).toEqual(["first", ...many, "last"]);
});

test("what a crash left half done is put right", async () => {
  {
    await using log = await openLog(dir.path, options);
    await log.write(`${many.join("\n")}\nkept\n`);
    await log.write("behind\n");
  }
  // Killed in a block, in the index and in a line, and before an old tail was removed.
  await appendFile(join(dir.path, "blocks"), "garbage");
  await appendFile(join(dir.path, "index"), '{"line":');
  await writeFile(join(dir.path, "tail.7"), "1 old\n");
  const tail = (await readdir(dir.path)).find((name) => name.startsWith("tail.") && name !== "tail.7") ?? "";
  await appendFile(join(dir.path, tail), "99 to");
  {
    await using log = await openLog(dir.path, options);
    await log.write("more\n");
    await log.end();
  }
  expect(await texts()).toEqual([...many, "kept", "behind", "to", "more"]);
  expect((await readdir(dir.path)).filter((name) => name.startsWith("tail."))).toHaveLength(1);
});

test("a log that is begun anew holds nothing of before", async () => {
  {
    await using log = await openLog(dir.path, options);
    await log.write("before\n");
  }
  await using log = await openLog(dir.path, { ...options, anew: true });
  await log.write("after\n");
  expect(await texts()).toEqual(["after"]);
});

test("a writer that is killed loses nothing that it has taken", async () => {
  const module = new URL("store.ts", import.meta.url).href;
  const script = `
    import { openLog } from ${JSON.stringify(module)};
    const log = await openLog(${JSON.stringify(dir.path)}, { clock: () => Date.now() });
    for (let line = 0; ; line++) {
      await log.write(\`line \${line} \${"x".repeat(300)}\\n\`);
      if (line % 100 === 0) process.stdout.write(\`\${line}\\n\`);
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let told = 0;
  for await (const chunk of child.stdout) {
    told = Number(String(chunk).trim().split("\n").at(-1));
    if (told >= 2000) break;
  }
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
  await using log = await openLog(dir.path, options);
  await log.end();
  const all = await texts();
  expect(all.length).toBeGreaterThan(told);
  for (const [index, text] of all.slice(0, -1).entries())
    expect(text).toMatch(new RegExp(`^line ${index} x{300}$`));
  expect(await readFile(join(dir.path, "end"), "utf8")).toBe("");
});
