/** History and reverts of encrypted files where a key opens them; on a real git repository. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { decrypt, encrypt, rotate, set } from "@kws/sops/file";
import type { Key } from "@kws/sops/keys/key";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openRepository, type Repository } from "../project/repository.ts";
import { configHistory } from "./history.ts";
import { revertConfig } from "./revert.ts";

const path = "secrets.yaml";
const now = new Date("2026-01-02T03:04:05Z");
const named = { format: "yaml", file: path } as const;
let dir: TempDir;
let keys: TestKeys;
let repository: Repository;

beforeEach(async () => {
  dir = await tempDir("kws-config");
  keys = await ageKeys();
  const someone = { NAME: "Someone", EMAIL: "someone@example.com" };
  const env = {
    PATH: process.env["PATH"],
    HOME: dir.path,
    ...Object.fromEntries(
      Object.entries(someone).flatMap(([name, value]) => [
        [`GIT_AUTHOR_${name}`, value],
        [`GIT_COMMITTER_${name}`, value],
      ]),
    ),
  };
  await run("git", ["init", "--quiet", "--initial-branch=main", dir.path], { env });
  repository = await openRepository(dir.path, { env });
});
afterEach(() => dir[Symbol.asyncDispose]());

const read = () => readFile(join(dir.path, path), "utf8");
const open = async (text: string) => decrypt(text, { ...named, keyring: keys.keyring });
const values = async () => (await open(await read())).values();
const seal = (text: string, ...others: Key[]) =>
  encrypt(text, { ...named, keyring: keys.keyring, groups: [[keys.key, ...others]], now });

async function commit(subject: string, text: string): Promise<string> {
  await writeFile(join(dir.path, path), text);
  await repository.read(["add", "--all"]);
  await repository.read(["commit", "--quiet", "-m", subject]);
  return (await repository.read(["rev-parse", "HEAD"])).trim();
}

const setPassword = async (password: string) =>
  set(await open(await read()), ["db", "password"], password, { now });
const rotated = async () => rotate(await read(), { ...named, keyring: keys.keyring, now });

test("what changed under a new data key is told where a key opens both versions", async () => {
  await commit("First", await seal("db: { user: shop, password: canary-1 }\n"));
  const second = await rotate(await setPassword("canary-2"), { ...named, keyring: keys.keyring, now });
  await commit("Second", second);
  const plain = async (_file: string, text: string) => (await open(text)).values();
  const [told] = await configHistory(repository, { paths: [path], decrypt: plain });
  expect(told?.files).toEqual([
    {
      path,
      changes: [{ key: "db.password", kind: "changed", secret: true }],
      reencrypted: true,
      opened: true,
    },
  ]);
  const [untold] = await configHistory(repository, { paths: [path] });
  expect(untold?.files).toEqual([{ path, changes: [], reencrypted: true }]);
});

test("a revision's values are undone one by one under the present data key, and what came later stays", async () => {
  await commit("First", await seal("db: { user: shop, password: one }\ntoken: a\n"));
  const wrong = await commit("Wrong", await setPassword("two"));
  await commit("Rotated", await rotated());
  await commit("Later", set(await open(await read()), ["token"], "b", { now }));
  const before = (await open(await read())).metadata.keyGroups;
  const options = { service: "api", profile: "qa", paths: [path], undo: wrong };
  await revertConfig(repository, { ...options, keys: { keyring: keys.keyring, now } });
  expect(await values()).toEqual({ db: { user: "shop", password: "one" }, token: "b" });
  expect((await open(await read())).metadata.keyGroups).toEqual(before);
});

test("going back to an old revision does not bring its recipients back", async () => {
  const former = (await ageKeys()).key;
  const first = await commit("First", await seal("token: a\n", former));
  const second = await rotate(await read(), { ...named, keyring: keys.keyring, now, remove: [former] });
  await commit("Without a recipient", second);
  await commit("Later", set(await open(await read()), ["token"], "b", { now }));
  const options = { service: "api", profile: "qa", paths: [path], to: first };
  await revertConfig(repository, { ...options, keys: { keyring: keys.keyring, now } });
  expect(await values()).toEqual({ token: "a" });
  expect((await open(await read())).metadata.keyGroups).toHaveLength(1);
  expect((await open(await read())).metadata.keyGroups[0]).toHaveLength(1);
});

test("a value that was changed again since is a conflict that is named by its key", async () => {
  await commit("First", await seal("db: { user: shop, password: canary-1 }\n"));
  const second = await commit("Second", await setPassword("canary-2"));
  await commit("Third", await setPassword("canary-3"));
  const options = { service: "api", profile: "qa", paths: [path], undo: second };
  const text = await read();
  await expect(
    revertConfig(repository, { ...options, keys: { keyring: keys.keyring, now } }),
  ).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringMatching(/^(?!.*canary).*db\.password of secrets\.yaml/),
  });
  expect(await read()).toBe(text);
});
