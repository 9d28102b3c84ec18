/** On a real git repository. */
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { encrypt, type EncryptOptions } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkPaths, checkStaged } from "./check.ts";
import { listSecrets } from "./report.ts";

const now = new Date("2026-03-01T00:00:00Z");
let dir: TempDir;
let keys: TestKeys;
let other: TestKeys;

beforeEach(async () => {
  dir = await tempDir("kws-check");
  [keys, other] = [await ageKeys(), await ageKeys()];
  await git("init", "--quiet");
});
afterEach(() => dir[Symbol.asyncDispose]());

const env = () => ({ PATH: process.env["PATH"], HOME: dir.path });
const git = (...args: string[]) => run("git", ["-C", dir.path, ...args], { env: env() });
const commit = async () => {
  await git("add", "--all");
  await git(
    "-c",
    "user.name=Someone",
    "-c",
    "user.email=someone@example.com",
    "commit",
    "--quiet",
    "-m",
    "x",
  );
};

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir.path, path)), { recursive: true });
  await writeFile(join(dir.path, path), text);
}

const seal = (text: string, options: Partial<EncryptOptions> = {}) =>
  encrypt(text, { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now, ...options });

const recipientOf = ({ key }: TestKeys) => (key.type === "age" ? key.recipient : "");
const rules = (...recipients: string[]) =>
  `creation_rules:\n  - path_regex: secrets\\.yaml$\n    age: ${recipients.join(",")}\n`;

const options = () => ({ env: env(), signal: new AbortController().signal, keyring: keys.keyring });
const short = (text: string) => text.replaceAll(`${dir.path}/`, "");

/** What is found, and that nothing of it repeats what a file says. */
async function found(checking: ReturnType<typeof checkPaths>): Promise<string[]> {
  const { findings } = await checking;
  expect(JSON.stringify(findings)).not.toContain("canary");
  return findings.map(({ kind, at }) => `${kind} ${short(at)}`);
}
const inFolder = () => found(checkPaths([dir.path], options()));
const staged = () => found(checkStaged(dir.path, options()));

test("files in order are told with their MACs, and plain files that no rule names are passed over", async () => {
  await write(".sops.yaml", rules(recipientOf(keys)));
  await write("a/secrets.yaml", await seal("# canary\ntoken: canary\n"));
  await write("token.txt", "canary");
  const { files, findings } = await checkPaths([dir.path], options());
  expect(files).toEqual([{ file: join(dir.path, "a/secrets.yaml"), mac: "good" }]);
  expect(findings).toEqual([]);
});

test("a comment in the clear is found by its place, as is a value", async () => {
  const sealed = await seal("a:\n  # one\n  b: canary\nc: canary\n");
  await write("comment.yaml", sealed.replace(/#ENC\[.*/, "# canary"));
  await write("value.yaml", sealed.replace(/^c: .*/m, "c: canary"));
  await write("last.yaml", `${sealed}# canary\n`);
  const env = await seal("#one\nA=canary\n", { format: "dotenv" });
  await write("x.env", env.replace(/^#ENC.*/, "#canary"));
  expect(await inFolder()).toEqual([
    "plaintext comment.yaml:2:5",
    expect.stringMatching(/^plaintext last.yaml:\d+:1$/),
    "plaintext value.yaml:4:4",
    "plaintext x.env:1:1",
  ]);
});

test("comments that the rule leaves alone may be in the clear", async () => {
  await write(
    "x.yaml",
    await seal("# canary\na: 1\nsecrets:\n  b: 2\n", { selection: { encrypted_regex: "^secrets$" } }),
  );
  expect(await inFolder()).toEqual([]);
});

test("a cut file, one that was changed, one for others, and one that is named and in the clear are found", async () => {
  const sealed = await seal("a: canary\nb_unencrypted: 1\n");
  await write("broken.yaml", sealed.replace("b_unencrypted: 1", "b_unencrypted: 2"));
  await write("cut.yaml", sealed.slice(0, sealed.indexOf("sops:")));
  await write("foreign.yaml", await seal("a: 1\n", { keyring: other.keyring, groups: [[other.key]] }));
  await write("plain.txt", "canary");
  expect(await inFolder()).toEqual(["broken-mac broken.yaml", "damaged cut.yaml", "no-key foreign.yaml"]);
  expect(await found(checkPaths([join(dir.path, "plain.txt")], options()))).toEqual(["plaintext plain.txt"]);
  await expect(checkPaths([join(dir.path, "nothing")], options())).rejects.toMatchObject({
    code: "not-found",
  });
});

test("recipients, and groups of the same recipients, have to be those of the rule", async () => {
  await write(".sops.yaml", rules(recipientOf(keys), recipientOf(other)));
  await write("a/secrets.yaml", await seal("a: 1\n"));
  await write("b/secrets.yaml", await seal("a: 1\n", { groups: [[keys.key, other.key]] }));
  await write("c/secrets.yaml", await seal("a: 1\n", { groups: [[other.key], [keys.key]] }));
  const { findings } = await checkPaths([dir.path], options());
  expect(findings.map(({ kind, at }) => `${kind} ${short(at)}`)).toEqual([
    "missing-recipient a/secrets.yaml",
    "other-groups c/secrets.yaml",
    "no-key c/secrets.yaml",
  ]);
});

test("what is staged is checked as the index has it, whatever the working tree says", async () => {
  await write(".sops.yaml", rules(recipientOf(keys)));
  await write("old/secrets.yaml", "token: canary\n");
  await commit();
  await write("new/secrets.yaml", "token: canary\n");
  await write("good/secrets.yaml", await seal("token: canary\n"));
  await write("untracked/secrets.yaml", "token: canary\n");
  await symlink("secrets.yaml", join(dir.path, "good/link.yaml"));
  await git("add", "new", "good");
  await write("new/secrets.yaml", await seal("token: canary\n"));
  await write("good/secrets.yaml", "token: canary\n");
  expect(await staged()).toEqual(["plaintext new/secrets.yaml"]);
  await git("add", "new");
  expect(await staged()).toEqual([]);
});

test("in a hook, what this commit takes is checked", async () => {
  await write(".sops.yaml", rules(recipientOf(keys)));
  await write("a/secrets.yaml", "token: canary\n");
  await write("b.txt", "");
  await git("add", "--all");
  const index = join(dir.path, "partial");
  await run("git", ["-C", dir.path, "add", "b.txt"], { env: { ...env(), GIT_INDEX_FILE: index } });
  const hook = { ...options(), env: { ...env(), GIT_INDEX_FILE: index } };
  expect(await found(checkStaged(dir.path, hook))).toEqual([]);
  expect(await staged()).toEqual(["plaintext a/secrets.yaml"]);
});

test("staged rules are those that hold, and have all files below them checked", async () => {
  await write("shop/.sops.yaml", rules(recipientOf(keys)));
  await write("shop/a/secrets.yaml", await seal("a: 1\n"));
  await write("other/secrets.yaml", "a: 1\n");
  await commit();
  await write("shop/.sops.yaml", rules(recipientOf(keys), recipientOf(other)));
  expect(await staged()).toEqual([]);
  await git("add", "--all");
  await rm(join(dir.path, "shop/.sops.yaml"));
  expect(await staged()).toEqual(["missing-recipient shop/a/secrets.yaml"]);
});

test("the list has damaged files too, and tells which ones open here", async () => {
  const sealed = await seal("a: canary\n");
  await write("ours.yaml", sealed.replace(/^a: .*/m, "a: canary"));
  await write("theirs.yaml", await seal("a: 1\n", { keyring: other.keyring, groups: [[other.key]] }));
  const files = await listSecrets({ folders: [dir.path], ...options() }, keys.keyring);
  expect(files.map(({ file, opens }) => [short(file), opens])).toEqual([
    ["ours.yaml", true],
    ["theirs.yaml", false],
  ]);
});
