import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "@kws/base/exec";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { publicAddress } from "../project/git.ts";
import { loadServices } from "../project/services.ts";
import { loadProject } from "../project/workspace.ts";
import { listKept, readRevision } from "./revision.ts";

const env = {
  PATH: process.env["PATH"],
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.com",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.com",
  GIT_COMMITTER_DATE: "2026-01-02T03:04:05+0100",
};
let dir: TempDir;
let root: string;

beforeEach(async () => {
  dir = await tempDir("kws-revision");
  root = join(dir.path, "repository");
  await mkdir(join(root, "api"), { recursive: true });
  await writeFile(join(root, "api/kws.yaml"), "name: api\n");
  await git("init", "--quiet", "--initial-branch=main");
  await git("add", "--all");
  await commit();
});
afterEach(() => dir[Symbol.asyncDispose]());

async function git(...args: string[]): Promise<string> {
  return (await run("git", ["-C", root, ...args], { env })).stdout.trim();
}

async function commit(): Promise<void> {
  await git("commit", "--quiet", "--allow-empty", "--message", "change");
}

async function revision(at = root) {
  const file = join(at, "api/kws.yaml");
  const [service] = await loadServices(await loadProject(file), { cache: dir.path, env });
  if (service === undefined) throw new Error("no service");
  return readRevision(service, { env });
}

test("commit and time are those of HEAD; without a tag all commits count", async () => {
  await commit();
  expect(await revision()).toEqual({
    commit: await git("rev-parse", "HEAD"),
    time: Date.parse("2026-01-02T02:04:05Z") / 1000,
    source: undefined,
    tag: undefined,
    distance: 2,
    shallow: false,
    changes: [],
  });
});

test("the highest tag counts: the service's own, else plain ones", async () => {
  for (const tag of ["v1.2.3", "v1.10.0-rc.1", "v1.9.0", "other/v9.0.0", "v2", "nonsense"])
    await git("tag", tag);
  expect(await revision()).toMatchObject({ tag: "1.10.0-rc.1", distance: 0 });
  await commit();
  expect(await revision()).toMatchObject({ tag: "1.10.0-rc.1", distance: 1 });
  await git("tag", "api/v0.5.0", "HEAD~1");
  expect(await revision()).toMatchObject({ tag: "0.5.0", distance: 1 });
  await git("tag", "v4.0.0");
  expect(await revision()).toMatchObject({ tag: "0.5.0", distance: 1 });
});

test("a tag on the commit wins over a higher one before it", async () => {
  await git("tag", "v3.0.0");
  await commit();
  await git("tag", "--annotate", "--message", "backport", "v2.4.1");
  expect(await revision()).toMatchObject({ tag: "2.4.1", distance: 0 });
});

test("tags of other branches do not count", async () => {
  await git("checkout", "--quiet", "-b", "other");
  await commit();
  await git("tag", "v5.0.0");
  await git("checkout", "--quiet", "main");
  expect(await revision()).toMatchObject({ tag: undefined, distance: 1 });
});

test("a shallow clone is known as one", async () => {
  await commit();
  const clone = join(dir.path, "clone");
  await run("git", ["clone", "--quiet", "--depth=1", `file://${root}`, clone], { env });
  expect(await revision(clone)).toMatchObject({ shallow: true, source: undefined });
});

test("changes in the service's folder count, those elsewhere and ignored files do not", async () => {
  await writeFile(join(root, "elsewhere"), "x");
  await writeFile(join(root, ".gitignore"), "*.log\n");
  await writeFile(join(root, "api/a.log"), "x");
  expect((await revision()).changes).toEqual([]);
  await writeFile(join(root, "api/ä b"), "x");
  await writeFile(join(root, "api/kws.yaml"), "name: api\nbuild: {}\n");
  expect((await revision()).changes).toEqual(["api/kws.yaml", "api/ä b"]);
  expect(await listKept(join(root, "api"), { env })).toEqual(["kws.yaml", "ä b"]);
});

test.each([
  ["https://someone:secret@git.example.com/team/api.git", "https://git.example.com/team/api"],
  ["http://git.example.com/team/api/", "https://git.example.com/team/api"],
  ["git@Git.example.com:team/api.git", "https://git.example.com/team/api"],
  ["ssh://git@git.example.com:2222/team/api", "https://git.example.com/team/api"],
  ["/home/someone/api", undefined],
  ["../api", undefined],
  ["file:///home/someone/api", undefined],
  ["", undefined],
])("the address of %s is %s", (remote, address) => {
  expect(publicAddress(remote)).toBe(address);
});
