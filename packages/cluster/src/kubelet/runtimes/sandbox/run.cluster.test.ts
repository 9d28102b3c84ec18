import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeFixture, type Fixture } from "../../testing/runtime-fixture.ts";
import { preflight } from "./preflight.ts";
import { runInSandbox, type RunInSandboxOptions } from "./run.ts";

let fixture: Fixture;
let upperDir: string;
let tmpDir: string;

beforeAll(async () => {
  fixture = await makeFixture();
  upperDir = join(fixture.folder, "upper");
  tmpDir = join(fixture.folder, "tmp");
  mkdirSync(upperDir);
  mkdirSync(tmpDir);
});
afterAll(() => rmSync(fixture.folder, { recursive: true, force: true }));

async function run(script: string, changes?: Partial<RunInSandboxOptions>) {
  let output = "";
  const code = await runInSandbox({
    layers: [fixture.layer],
    upperDir,
    tmpDir,
    argv: ["sh", "-c", script],
    env: { STAGE: "build" },
    cwd: "/work",
    user: { uid: 0, gid: 0, additionalGids: [] },
    network: "none",
    onOutput: (chunk) => (output += chunk.toString()),
    ...changes,
  });
  return { code, output };
}

test("this machine can run containers, and says so", async () => {
  expect(await preflight()).toBeUndefined();
});

test("a build step changes the upper folder alone and leaves no other file", async () => {
  expect(await run("echo $STAGE >made; ls /bin/id; exit 3")).toEqual({ code: 3, output: "/bin/id\n" });
  expect(readFileSync(join(upperDir, "work", "made"), "utf8")).toBe("build\n");
  expect(readdirSync(tmpDir)).toEqual(["tools"]);
  expect(lstatSync(join(fixture.layer, "bin", "id")).isFile()).toBe(true);
});

test("the first steps of several builds at once do not disturb each other", async () => {
  const folder = join(fixture.folder, "first");
  const ends = [1, 2, 3].map(async (count) => {
    const upper = join(folder, `upper${count}`);
    mkdirSync(upper, { recursive: true });
    return run(`echo ${count}`, { upperDir: upper, tmpDir: folder });
  });
  expect((await Promise.all(ends)).map(({ output }) => output)).toEqual(["1\n", "2\n", "3\n"]);
});

test("a step without network sees the loopback interface alone", async () => {
  const { output } = await run("while IFS=: read -r name rest; do echo $name; done </proc/net/dev");
  expect(output.trim().split("\n").slice(2)).toEqual(["lo"]);
});

test("a step on the host's network resolves names as the host does", async () => {
  expect((await run("cat /etc/hosts", { network: "host" })).output).toBe(readFileSync("/etc/hosts", "utf8"));
});

test("a missing program is an error, and an aborted step is killed with all its children", async () => {
  await expect(run("", { argv: ["nope"] })).rejects.toThrow(
    'exec: "nope": executable file not found in $PATH',
  );
  const abort = new AbortController();
  const running = run("sleep 1000 & echo up; sleep 1000", {
    signal: abort.signal,
    onOutput: () => abort.abort(new Error("enough")),
  });
  await expect(running).rejects.toThrow("enough");
  expect(readdirSync(tmpDir)).toEqual(["tools"]);
});
