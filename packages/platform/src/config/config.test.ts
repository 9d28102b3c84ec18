/** On a real git repository. */
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openRepository, type Repository } from "../project/repository.ts";
import { configHistory } from "./history.ts";
import { revertConfig } from "./revert.ts";

const values = "chart/profiles/qa/values.yaml";
const secrets = "chart/profiles/qa/secrets.yaml";
const paths = [values, secrets];
const author = { GIT_AUTHOR_NAME: "Someone", GIT_AUTHOR_EMAIL: "someone@example.com" };
let dir: TempDir;
let repository: Repository;

beforeEach(async () => {
  dir = await tempDir("kws-config");
  const env = {
    PATH: process.env["PATH"],
    HOME: dir.path,
    ...author,
    GIT_COMMITTER_NAME: "Someone",
    GIT_COMMITTER_EMAIL: "someone@example.com",
  };
  await run("git", ["init", "--quiet", "--initial-branch=main", dir.path], { env });
  repository = await openRepository(dir.path, { env });
});
afterEach(() => dir[Symbol.asyncDispose]());

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir.path, path)), { recursive: true });
  await writeFile(join(dir.path, path), text);
}

async function commit(subject: string, files: Record<string, string | undefined>): Promise<string> {
  for (const [path, text] of Object.entries(files)) {
    if (text === undefined) await rm(join(dir.path, path));
    else await write(path, text);
  }
  await repository.read(["add", "--all"]);
  await repository.read(["commit", "--quiet", "-m", subject]);
  return (await repository.read(["rev-parse", "HEAD"])).trim();
}

const read = (path: string) => readFile(join(dir.path, path), "utf8");
const encrypted = (password: string, key = "one", mac = password): string =>
  `password: ENC[AES256_GCM,data:${password},iv:a,tag:b,type:str]\nsops:\n    age:\n        - recipient: age1\n          enc: ${key}\n    mac: ENC[${mac}]\n`;

test("who changed which key when, newest first; comments and other files are no changes of the configuration", async () => {
  await commit("First", { [values]: "replicas: 1\nhosts: [a]\n", "README.md": "x" });
  await commit("A comment", { [values]: "# How many.\nreplicas: 1\nhosts: [a]\n" });
  await commit("Other things", { "README.md": "y" });
  await commit("More of it", { [values]: "# How many.\nreplicas: 2\nhosts: [a, b]\n" });
  await commit("Less of it", { [values]: "# How many.\nhosts: [a, b]\n" });
  const history = await configHistory(repository, { paths });
  expect(history.map(({ subject, author: name, email }) => [subject, name, email])).toEqual(
    ["Less of it", "More of it", "First"].map((subject) => [subject, "Someone", "someone@example.com"]),
  );
  expect(history.map(({ files }) => files[0]?.changes)).toEqual([
    [{ key: "replicas", kind: "removed", from: 2, secret: false }],
    [
      { key: "replicas", kind: "changed", from: 1, to: 2, secret: false },
      { key: "hosts[1]", kind: "added", to: "b", secret: false },
    ],
    [
      { key: "replicas", kind: "added", to: 1, secret: false },
      { key: "hosts[0]", kind: "added", to: "a", secret: false },
    ],
  ]);
  expect(await configHistory(repository, { paths, key: "hosts", limit: 1 })).toMatchObject([
    { subject: "More of it" },
  ]);
});

test("of secrets it is told which were changed, and never their content", async () => {
  await commit("First", { [secrets]: encrypted("secret1") });
  await commit("Changed", { [secrets]: encrypted("secret2") });
  await commit("Rotated", { [secrets]: encrypted("secret3", "two") });
  const [rotated, changed] = await configHistory(repository, { paths });
  expect(changed?.files[0]?.changes).toEqual([{ key: "password", kind: "changed", secret: true }]);
  expect(rotated?.files).toEqual([{ path: secrets, changes: [], reencrypted: true }]);
});

test("of a file of secrets that was committed in the clear, history does not repeat the values", async () => {
  await commit("In the clear", { [secrets]: "password: hunter2\n" });
  const history = await configHistory(repository, { paths });
  expect(history[0]?.files[0]?.changes).toEqual([{ key: "password", kind: "added", secret: true }]);
});

test("a version that is not YAML is told, and hides no other revision", async () => {
  await commit("Good", { [values]: "a: 1\n" });
  await commit("Broken", { [values]: "a: [1\n" });
  const [broken, good] = await configHistory(repository, { paths });
  expect(broken).toMatchObject({ subject: "Broken", files: [{ problem: expect.stringMatching(/YAML/) }] });
  expect(good).toMatchObject({ subject: "Good" });
});

test("one revision is undone, and what came after it stays", async () => {
  const lines = (first: number, last: number) => `first: ${first}\n\n\n\n\nlast: ${last}\n`;
  await commit("First", { [values]: lines(1, 1) });
  const wrong = await commit("Wrong", { [values]: lines(2, 1) });
  await commit("Right", { [values]: lines(2, 2) });
  const options = { service: "api", profile: "qa", paths, undo: wrong, reason: "It broke the shop." };
  const planned = await revertConfig(repository, { ...options, dryRun: true });
  expect(planned).toEqual({
    files: [{ path: values, changes: [{ key: "first", kind: "changed", from: 2, to: 1, secret: false }] }],
  });
  expect(await read(values)).toBe(lines(2, 2));
  const { commit: made } = await revertConfig(repository, options);
  expect(await read(values)).toBe(lines(1, 2));
  expect(await repository.read(["log", "-1", "--format=%H %B"])).toBe(
    `${made} Revert "Wrong" in api (qa)\n\nIt broke the shop.\n\nThis reverts commit ${wrong}.\n\n`,
  );
});

test("the commit holds the configuration alone, and what was staged stays staged", async () => {
  const first = await commit("First", { [values]: "a: 1\n", "README.md": "x" });
  await commit("Second", { [values]: "a: 2\n", [secrets]: encrypted("one") });
  await write("README.md", "y");
  await repository.read(["add", "README.md"]);
  await revertConfig(repository, { service: "api", profile: "qa", paths, to: first });
  expect(await repository.read(["show", "--name-only", "--format=", "HEAD"])).toBe(`${secrets}\n${values}\n`);
  expect(await repository.read(["status", "--porcelain"])).toBe("M  README.md\n");
  expect(await read(values)).toBe("a: 1\n");
  await expect(read(secrets)).rejects.toThrow(/ENOENT/);
});

test("what was changed again since is a conflict, and nothing is changed", async () => {
  const first = await commit("First", { [secrets]: encrypted("one") });
  const second = await commit("Second", { [secrets]: encrypted("two") });
  await commit("Third", { [secrets]: encrypted("three") });
  const options = { service: "api", profile: "qa", paths };
  await expect(revertConfig(repository, { ...options, undo: second })).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining(secrets),
  });
  expect(await read(secrets)).toBe(encrypted("three"));
  await revertConfig(repository, { ...options, to: first });
  expect(await read(secrets)).toBe(encrypted("one"));
});

test("uncommitted changes are not lost", async () => {
  const first = await commit("First", { [values]: "a: 1\n" });
  await commit("Second", { [values]: "a: 2\n" });
  await write(values, "a: 3\n");
  await expect(
    revertConfig(repository, { service: "api", profile: "qa", paths, to: first }),
  ).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining(values) });
  expect(await read(values)).toBe("a: 3\n");
});

test("where a hook refuses the commit all is as before", async () => {
  const first = await commit("First", { [values]: "a: 1\n", [secrets]: encrypted("one") });
  await commit("Second", { [values]: "a: 2\n", [secrets]: undefined });
  await write(".git/hooks/pre-commit", "#!/bin/sh\necho the hook says no >&2\nexit 1\n");
  await chmod(join(dir.path, ".git/hooks/pre-commit"), 0o755);
  await expect(
    revertConfig(repository, { service: "api", profile: "qa", paths, to: first }),
  ).rejects.toMatchObject({ message: expect.stringContaining("the hook says no") });
  expect(await repository.read(["status", "--porcelain"])).toBe("");
  expect(await read(values)).toBe("a: 2\n");
});

test("where git does not know who commits, that is told, and nothing is changed", async () => {
  const first = await commit("First", { [values]: "a: 1\n" });
  await commit("Second", { [values]: "a: 2\n" });
  await repository.read(["config", "user.useConfigOnly", "true"]);
  const env = { PATH: process.env["PATH"], HOME: dir.path, GIT_CONFIG_NOSYSTEM: "1" };
  const stranger = await openRepository(dir.path, { env });
  await expect(
    revertConfig(stranger, { service: "api", profile: "qa", paths, to: first }),
  ).rejects.toMatchObject({ code: "config", fix: expect.stringContaining("git config user.name") });
  expect(await read(values)).toBe("a: 2\n");
});

test("a revision that does not exist, and a folder without git, are told", async () => {
  await commit("First", { [values]: "a: 1\n" });
  await expect(
    revertConfig(repository, { service: "api", profile: "qa", paths, undo: "v9" }),
  ).rejects.toMatchObject({ code: "not-found" });
  await using other = await tempDir("kws-config");
  await expect(openRepository(other.path, { env: { PATH: process.env["PATH"] } })).rejects.toMatchObject({
    code: "config",
    fix: expect.stringContaining("git init"),
  });
});
