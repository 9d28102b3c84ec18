/** On a real git repository. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { encrypt, type EncryptOptions } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isCertain, secretsReport, type ReportOptions, type SecretsReport } from "./report.ts";

const now = new Date("2026-03-01T00:00:00Z");
const day = 24 * 60 * 60 * 1000;
let dir: TempDir;
let keys: TestKeys;
let other: TestKeys;

beforeEach(async () => {
  dir = await tempDir("kws-report");
  [keys, other] = [await ageKeys(), await ageKeys()];
  await git("2026-01-01", "init", "--quiet", "--initial-branch=main");
});
afterEach(() => dir[Symbol.asyncDispose]());

const env = () => ({ PATH: process.env["PATH"], HOME: dir.path });

function git(date: string, ...args: string[]) {
  const who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"];
  const dates = { GIT_AUTHOR_DATE: `${date}T00:00:00Z`, GIT_COMMITTER_DATE: `${date}T00:00:00Z` };
  return run("git", ["-C", dir.path, ...who, ...args], { env: { ...env(), ...dates } });
}

async function commit(date: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir.path, path)), { recursive: true });
    await writeFile(join(dir.path, path), text);
  }
  await git(date, "add", "--all");
  await git(date, "commit", "--quiet", "-m", "x");
}

const seal = (text: string, options: Partial<EncryptOptions> = {}) =>
  encrypt(text, { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now, ...options });

async function report(options: Partial<ReportOptions> = {}) {
  const signal = new AbortController().signal;
  const made = await secretsReport({ folders: [dir.path], env: env(), signal, now, ...options });
  return JSON.parse(JSON.stringify(made).replaceAll(`${dir.path}/`, "")) as SecretsReport;
}

const recipientOf = ({ key }: TestKeys) => (key.type === "age" ? key.recipient : "");
const rules = (...recipients: string[]) =>
  `creation_rules:\n  - path_regex: secrets\\.yaml$\n    age: ${recipients.join(",")}\n  - age: ${recipients.join(",")}\n`;

test("a workspace in order: the age of a data key is from git, and nothing is to be mended", async () => {
  await commit("2026-01-05", {
    ".sops.yaml": rules(recipientOf(keys)),
    "profiles/qa/secrets.yaml": await seal("token: canary\n"),
    "sealed.json": await seal('{"token": "canary"}', { format: "json" }),
    "values.yaml": "replicas: 1\n",
  });
  await commit("2026-02-05", { "values.yaml": "replicas: 2\n" });
  const { files, findings } = await report({ verify: keys });
  const common = {
    recipients: [`age recipient ${recipientOf(keys)}`],
    since: "2026-01-05T00:00:00.000Z",
    sinceBy: "git",
    lastModified: "2026-03-01T00:00:00Z",
    mac: "good",
  };
  expect(files).toEqual([
    { file: "profiles/qa/secrets.yaml", format: "yaml", ...common },
    { file: "sealed.json", format: "json", ...common },
  ]);
  expect(findings).toEqual([]);
  expect((await report({ maxAge: 54 * day })).findings.map(({ kind }) => kind)).toEqual([
    "old-key",
    "old-key",
  ]);
});

test("recipients that the rules do not name any more, and those that they name by now", async () => {
  await commit("2026-01-05", {
    ".sops.yaml": rules(recipientOf(other)),
    "secrets.yaml": await seal("a: 1\n"),
  });
  const { findings } = await report();
  expect(findings).toEqual([
    {
      kind: "extra-recipient",
      at: "secrets.yaml",
      message: expect.stringContaining(recipientOf(keys)),
    },
    {
      kind: "missing-recipient",
      at: "secrets.yaml",
      message: expect.stringContaining(recipientOf(other)),
    },
  ]);
});

test("what is in the clear and should not be is found; what only a general rule covers is not", async () => {
  const sealed = await seal("token: canary\nother: x\n");
  await commit("2026-01-05", {
    ".sops.yaml": rules(recipientOf(keys)),
    "a/secrets.yaml": "token: canary\n",
    "chart/profiles/qa/secrets.json": '{"token": "canary"}\n',
    "half.yaml": sealed.replace(/^token: .*/m, "token: canary"),
    "values.yaml": "replicas: 1\n",
  });
  const { files, findings } = await report();
  expect(files.map(({ file }) => file)).toEqual(["half.yaml"]);
  expect(findings.map(({ kind, at }) => [kind, at])).toEqual([
    ["plaintext", "a/secrets.yaml"],
    ["plaintext", "chart/profiles/qa/secrets.json"],
    ["plaintext", "half.yaml:1:8"],
  ]);
  expect(JSON.stringify(findings)).not.toContain("canary");
});

test("damaged files, and MACs that do not agree, are told with their place and hide no other file", async () => {
  const sealed = await seal("a: 1\nb_unencrypted: 1\n");
  await commit("2026-01-05", {
    "broken.yaml": sealed.replace("b_unencrypted: 1", "b_unencrypted: 2"),
    "cut.yaml": sealed.replace(/ +mac: .*\n/, "").replace(/ +lastmodified: .*\n/, ""),
    "foreign.yaml": await encrypt("a: 1\n", {
      format: "yaml",
      keyring: other.keyring,
      groups: [[other.key]],
      now,
    }),
  });
  const { files, findings } = await report({ verify: keys });
  expect(files.map(({ file, mac }) => [file, mac])).toEqual([
    ["broken.yaml", "broken"],
    ["foreign.yaml", "no key"],
  ]);
  expect(findings.map(({ kind, at }) => [kind, at.replace(/:.*/, "")])).toEqual([
    ["broken-mac", "broken.yaml"],
    ["damaged", "cut.yaml"],
  ]);
});

test("what looks like a secret in plain files is told; a name alone is a suspicion", async () => {
  const token = ["gh", "p_", "0123456789abcdefghijABCDEFGHIJ012345"].join("");
  await commit("2026-01-05", {
    ".gitignore": "ignored.yaml\n",
    "main.ts": `const token = "${token}";\n`,
    "values.yaml": "db:\n  password: hunter2\n",
    "ignored.yaml": `token: ${token}\n`,
    "template.yaml": "{{ if x }}\n",
  });
  const { findings } = await report();
  expect(findings.map((one) => [one.kind, one.at, isCertain(one)])).toEqual([
    ["secret-in-plain-file", "main.ts:1:16", true],
    ["suspect", "values.yaml:2:13", false],
  ]);
  expect(JSON.stringify(findings)).not.toMatch(/hunter2|0123456789/);
});

test("a folder without git is looked at as it lies there", async () => {
  await using plain = await tempDir("kws-report");
  await writeFile(join(plain.path, "secrets.yaml"), await seal("a: 1\n"));
  const { files } = await report({ folders: [plain.path] });
  expect(files).toMatchObject([{ since: "2026-03-01T00:00:00Z", sinceBy: "lastmodified" }]);
  await expect(report({ folders: [join(plain.path, "nothing")] })).rejects.toMatchObject({
    code: "not-found",
  });
});
