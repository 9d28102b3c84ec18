import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { inspect } from "node:util";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { encrypt } from "@kws/sops/file";
import { ageKeys } from "@kws/sops/testing/keyring";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { refusePlaintext } from "./encrypted.ts";

let sealed: string;
let dir: TempDir;

beforeAll(async () => {
  const { keyring, key } = await ageKeys();
  const text = 'user: me\npassword: canary\nempty: ""\nnone: null\nport_unencrypted: 80\n';
  sealed = await encrypt(text, { format: "yaml", keyring, groups: [[key]], now: new Date(0) });
});
beforeEach(async () => {
  dir = await tempDir("kws-encrypted");
});
afterEach(() => dir[Symbol.asyncDispose]());

/** Checks the files; a `.sops.yaml` beside the chart is written there alone. */
async function check(files: Record<string, string>, rules?: string): Promise<string> {
  const chart = join(dir.path, "chart");
  for (const [path, text] of Object.entries({ ...files, ...(rules && { "../.sops.yaml": rules }) })) {
    await mkdir(dirname(join(chart, path)), { recursive: true });
    await writeFile(join(chart, path), text);
  }
  const contents = new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]));
  const error = await refusePlaintext({ dir: chart, version: "1.0.0", files: contents }).catch(
    (thrown: unknown) => thrown,
  );
  expect(inspect(error)).not.toContain("canary");
  if (error === undefined) return "";
  expect(error).toMatchObject({ code: "config", at: expect.stringContaining(":") });
  const { message, at } = error as { message: string; at: string };
  return `${at}: ${message}`.replaceAll(dir.path, "");
}

test("encrypted secrets pass", async () => {
  expect(await check({ "profiles/qa/secrets.yaml": sealed })).toBe("");
});

test.each(["yaml", "yml", "json", "env"])(
  "a profile's secrets.%s in the clear is refused",
  async (ending) => {
    expect(await check({ [`profiles/qa/secrets.${ending}`]: "password: canary\n" })).toContain(
      `/chart/profiles/qa/secrets.${ending} is in the clear`,
    );
  },
);

test("secrets in the clear are refused in folders of a profile too", async () => {
  expect(await check({ "profiles/qa/db/secrets.yaml": "password: canary\n" })).toContain(
    "/chart/profiles/qa/db/secrets.yaml is in the clear",
  );
});

test("secrets whose own rule encrypts nothing are refused", async () => {
  const rule = sealed.replace(/ {4}unencrypted_suffix: .*/, "    encrypted_regex: ^nothing$");
  const text = rule.replace(/^user: .*\n/m, "user: me\n").replace(/^password: .*\n/m, "password: canary\n");
  expect(await check({ "profiles/qa/secrets.yaml": text })).toContain(
    "is in the clear: the rule in its sops block encrypts none of its values",
  );
});

test.each([
  ["a value that was added by hand", /^user:/m, "added: canary\nuser:", "added"],
  ["a value that was replaced by hand", /password: ENC.*/, "password: canary", "password"],
  ["a number", /password: ENC.*/, "password: 1234", "password"],
  ["a text behind what is encrypted", /(password: ENC.*)/, "$1 canary", "password"],
])("%s in an encrypted file is refused, with its place", async (_, from, to, key) => {
  expect(await check({ "profiles/qa/secrets.yaml": sealed.replace(from, to) })).toMatch(
    new RegExp(`secrets\\.yaml:[12]:\\d+: ${key} cannot be decrypted: .*in the clear`),
  );
});

test("a comment in the clear in an encrypted file is refused, with its place", async () => {
  const text = sealed.replace(/^password:/m, "# canary\npassword:");
  expect(await check({ "profiles/qa/secrets.yaml": text })).toMatch(
    /secrets\.yaml:2:1: a comment is in the clear/,
  );
});

const rule = "creation_rules:\n  - path_regex: profiles/qa/.*\\.yaml$\n    age: age1x\n";

test("a file that a rule names is encrypted, and others need not be", async () => {
  expect(await check({ "profiles/qa/values.yaml": "a: 1\n" }, rule)).toMatch(
    /values\.yaml:1:1: .* is in the clear: the rule at \/\.sops\.yaml:2:17 says that it is encrypted/,
  );
  expect(await check({ "profiles/dev/values.yaml": "a: 1\n" }, rule)).toBe("");
  expect(await check({ "profiles/qa/values.yaml": sealed }, rule)).toBe("");
});

test("a rule for every file says how, not which", async () => {
  expect(await check({ "profiles/qa/values.yaml": "a: 1\n" }, "creation_rules:\n  - age: age1x\n")).toBe("");
});

test("the nearest .sops.yaml counts", async () => {
  const near = { "profiles/qa/.sops.yaml": "creation_rules:\n  - age: age1x\n" };
  expect(await check({ ...near, "profiles/qa/values.yaml": "a: 1\n" }, rule)).toBe("");
});

test("a broken .sops.yaml is told with its place", async () => {
  expect(
    await check({ "profiles/qa/values.yaml": "a: 1\n" }, "creation_rules:\n  - path_regex: (\n"),
  ).toContain("/.sops.yaml:2:17: path_regex is no regular expression");
});

test("what Helm reads itself is not asked for, however wide a rule is", async () => {
  const wide = "creation_rules:\n  - path_regex: .*\n    age: age1x\n";
  const values = "a: 1\nsops: { enabled: true }\n";
  const files = { "Chart.yaml": "name: a\n", "values.yaml": values, "templates/a.yaml": "b: {{ .x }}\n" };
  expect(await check(files, wide)).toBe("");
  expect(await check({ ...files, "files/token": "canary" }, wide)).toContain(
    "/chart/files/token is in the clear",
  );
});
