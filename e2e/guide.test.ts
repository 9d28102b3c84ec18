/** Every command that the guide shows with a `$` works, in the order of the page, for a person with an empty home. */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const repository = fileURLToPath(new URL("..", import.meta.url));
const pages = (await readdir(join(repository, "docs/guide"))).filter((page) => page.endsWith(".md"));

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "kws-guide-"));
});
afterAll(async () => {
  await run("npx kws cluster reset --yes");
  await rm(home, { recursive: true, force: true });
});

function run(command: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, HOME: home, KWS_HOME: undefined, XDG_DATA_HOME: undefined };
    const child = spawn("sh", ["-c", command], { cwd: repository, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("close", (code) => resolve({ code, output }));
  });
}

describe.each(pages)("docs/guide/%s", async (page) => {
  const text = await readFile(join(repository, "docs/guide", page), "utf8");
  const blocks = [...text.matchAll(/^```console\n(.*?)^```/gms)].map((match) => match[1] ?? "");
  const commands = blocks.flatMap((block) => block.split("\n").filter((line) => line.startsWith("$ ")));

  test.runIf(commands.length > 0)("its commands work", async () => {
    for (const line of commands) {
      const command = line.slice(2);
      const { code, output } = await run(command);
      expect(code, `${command}\n${output}`).toBe(0);
    }
  });
});
