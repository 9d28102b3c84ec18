import { decrypt, edit, encrypt, rotate, updateKeys } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { beforeEach, expect, test } from "vitest";
import { mergeEncrypted, recipients } from "./merge.ts";

const named = { format: "yaml", file: "secrets.yaml" } as const;
const now = new Date("2026-01-02T03:04:05Z");
const later = new Date("2026-02-03T04:05:06Z");
let keys: TestKeys;

beforeEach(async () => {
  keys = await ageKeys();
});

const seal = (text: string) => encrypt(text, { ...named, keyring: keys.keyring, groups: [[keys.key]], now });
const open = (content: string) => decrypt(content, { ...named, keyring: keys.keyring });
const text = async (content: string) => (await open(content)).content().toString();

/** The same file with other plaintext, as an edit makes it. */
async function edited(content: string, change: (text: string) => string): Promise<string> {
  const file = await open(content);
  return edit(file, change(file.content().toString()), { now: later });
}

const merge = (base: string, ours: string, theirs: string) =>
  mergeEncrypted({ base, ours, theirs }, named, { keyring: keys.keyring, now: later });

/** The lines of the encrypted text but for what every write makes anew. */
const lines = (content: string) => content.split("\n").filter((line) => !/^ +(mac|lastmodified):/.test(line));

const plain = `# who may call
callers:
    - orders
    - web
db:
    user: shop
    password: one
token: abc
`;

test("changes of both sides come together, comments and order too, and keep their ciphertext", async () => {
  const base = await seal(plain);
  const ours = await edited(base, (before) => before.replace("password: one", "password: two"));
  const theirs = await edited(base, (before) =>
    before
      .replace("token: abc\n", "")
      .replace("# who may call", "# callers")
      .replace("    user: shop\n", "    user: shop\n    # of the replica\n    replica: r\n"),
  );
  const { content, conflicts } = await merge(base, ours, theirs);
  expect(conflicts).toEqual([]);
  expect(await text(content)).toBe(`# callers
callers:
    - orders
    - web
db:
    user: shop
    # of the replica
    replica: r
    password: two
`);
  const known = new Set([...lines(ours), ...lines(theirs)]);
  expect(lines(content).filter((line) => !known.has(line))).toEqual([]);
});

test("keys that both sides changed are named, and ours stay; the same change is none", async () => {
  const base = await seal(plain);
  const ours = await edited(base, (before) =>
    before.replace("one", "ours").replace("abc", "same").replace("- web", "- mailer"),
  );
  const theirs = await edited(base, (before) =>
    before.replace("one", "theirs").replace("abc", "same").replace("    - orders\n", ""),
  );
  const { content, conflicts } = await merge(base, ours, theirs);
  expect(conflicts).toEqual(["callers", "db.password"]);
  expect(await text(content)).toContain("password: ours");
  expect(content).toBe(ours);
});

test("a key that one side removed and the other changed is a conflict", async () => {
  const base = await seal(plain);
  const ours = await edited(base, (before) => before.replace("token: abc\n", ""));
  const theirs = await edited(base, (before) => before.replace("abc", "xyz"));
  expect((await merge(base, ours, theirs)).conflicts).toEqual(["token"]);
  expect((await merge(base, theirs, ours)).conflicts).toEqual(["token"]);
});

test("a file that both sides began has no base", async () => {
  const [ours, theirs] = [await seal("a: 1\nb: 2\n"), await seal("b: 2\nc: 3\n")];
  const { content, conflicts } = await merge("", ours, theirs);
  expect(conflicts).toEqual([]);
  expect((await open(content)).values()).toEqual({ a: 1, b: 2, c: 3 });
});

test("a rotation on one side goes with the edit of the other", async () => {
  const base = await seal(plain);
  const ours = await edited(base, (before) => before.replace("one", "two"));
  const theirs = await rotate(base, { ...named, keyring: keys.keyring, now: later });
  const { content, conflicts } = await merge(base, ours, theirs);
  expect(conflicts).toEqual([]);
  expect((await open(content)).metadata.keyGroups).toEqual((await open(theirs)).metadata.keyGroups);
  expect(await text(content)).toBe(plain.replace("one", "two"));
});

test("recipients that both sides changed are a conflict", async () => {
  const base = await seal(plain);
  const add = async () =>
    (
      await updateKeys(base, {
        ...named,
        keyring: keys.keyring,
        groups: [[keys.key, (await ageKeys()).key]],
      })
    ).content;
  expect((await merge(base, await add(), await add())).conflicts).toEqual([recipients]);
});

test("nothing is merged without a key, or where a MAC does not agree", async () => {
  const base = await seal(plain);
  const spoilt = base.replace(/^token: .*\n/m, "");
  await expect(merge(base, base, spoilt)).rejects.toMatchObject({ exitCode: 51 });
  const { keyring } = await ageKeys();
  await expect(
    mergeEncrypted({ base, ours: base, theirs: base }, named, { keyring, now }),
  ).rejects.toMatchObject({ exitCode: 128 });
});
