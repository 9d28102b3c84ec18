import { beforeAll, describe, expect, it } from "vitest";
import type { SopsError } from "./errors.ts";
import {
  decrypt,
  edit,
  encrypt,
  inspect,
  isEncrypted,
  rotate,
  set,
  unset,
  updateKeys,
  type EncryptOptions,
} from "./file.ts";
import type { FormatName } from "./formats/format.ts";
import { ageKeys, type TestKeys } from "./testing/keyring.ts";
import { find } from "./tree.ts";

const now = new Date("2026-01-02T03:04:05.678Z");
const later = new Date("2026-02-03T00:00:00Z");
const plain: Record<FormatName, string> = {
  yaml: '# head\na: s3cret # behind\nb:\n    c: 2\n    # last\nlist:\n    # of the item\n    - true\nempty: ""\nnone: null\nx_unencrypted: clear\n',
  json: '{\n\t"a": "s3cret",\n\t"b": {\n\t\t"c": 2\n\t},\n\t"list": [\n\t\ttrue,\n\t\t1.5\n\t],\n\t"x_unencrypted": 9007199254740993\n}\n',
  dotenv: "# head\nA=s3cret\nB=two\\nlines\nX_unencrypted=clear\n",
  ini: "; of the section\n[a]\n; of the key\nb = s3cret\n\n[x_unencrypted]\nc = clear\n",
  binary: "any \u0000 s3cret",
};

let keys: TestKeys;
let other: TestKeys;

beforeAll(async () => {
  [keys, other] = await Promise.all([ageKeys(), ageKeys()]);
});

async function encrypted(text: string, more: Partial<EncryptOptions> = {}): Promise<string> {
  return encrypt(text, { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now, ...more });
}

async function values(content: string, more: object = {}): Promise<Record<string, unknown>> {
  return (await decrypt(content, { format: "yaml", keyring: keys.keyring, ...more })).values();
}

async function failure(promise: Promise<unknown>): Promise<SopsError> {
  return promise.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => error as SopsError,
  );
}

describe.each(Object.entries(plain) as [FormatName, string][])("a %s file", (format, text) => {
  it("is as before once it was encrypted and decrypted", async () => {
    const sealed = await encrypted(text, { format });
    expect(sealed).not.toContain("s3cret");
    expect(isEncrypted(sealed, { format })).toBe(true);
    expect(isEncrypted(text, { format })).toBe(false);
    const open = await decrypt(sealed, { format, keyring: keys.keyring });
    expect(open.content().toString()).toBe(text);
  });

  it("keeps the ciphertext of what an edit leaves as it is", async () => {
    const sealed = await encrypted(text, { format });
    const open = await decrypt(sealed, { format, keyring: keys.keyring });
    const again = edit(open, open.content(), { now: later });
    const lines = sealed.split("\n");
    const changed = again.split("\n").filter((line, index) => line !== lines[index]);
    expect(changed.map((line) => /lastmodified|mac/.exec(line)?.[0])).toEqual(["lastmodified", "mac"]);
  });

  it.skipIf(format === "binary")("is not encrypted twice", async () => {
    const sealed = await encrypted(text, { format });
    const error = await failure(encrypted(sealed, { format, file: "x" }));
    expect(error.exitCode).toBe(203);
    expect(error.at).toMatch(/^x:\d+:\d+$/);
  });
});

describe("another format", () => {
  it("is written where it is asked for, the values being the same", async () => {
    const sealed = await encrypted("a: 1\nb: true\n", { outputFormat: "json" });
    expect(JSON.parse(sealed)).toMatchObject({ a: expect.stringContaining("ENC[") });
    expect(await values(sealed, { format: "json" })).toEqual({ a: 1, b: true });
    const rotated = await rotate(sealed, {
      format: "json",
      outputFormat: "yaml",
      keyring: keys.keyring,
      now,
    });
    expect(await values(rotated)).toEqual({ a: 1, b: true });
  });
});

describe("what is encrypted", () => {
  const text =
    "# clear\nkind: Secret\ndata:\n    # about a\n    a: one\n    b: 2\n# sops:enc\nextra:\n    - three\n";

  it.each([
    [{ encrypted_regex: "^data$" }, ["one", "2", "about a"]],
    [{ unencrypted_regex: "^(kind|extra)$" }, ["one", "2", "about a", "clear", "sops:enc"]],
    [{ encrypted_suffix: "tra" }, ["three"]],
    [{ encrypted_comment_regex: "sops:enc" }, ["three"]],
    [{ unencrypted_comment_regex: "about a|^ENC-none" }, ["Secret", "2", "three", "clear", "sops:enc"]],
  ])("follows %o", async (selection, hidden) => {
    const sealed = await encrypted(text, { selection });
    const head = sealed.slice(0, sealed.indexOf("\nsops:"));
    const words = ["Secret", "one", "2", "three", "about a", "clear", "sops:enc"];
    expect(words.filter((word) => !new RegExp(`(: |- |# ?)${word}$`, "m").test(head))).toEqual(hidden);
    const open = await decrypt(sealed, { format: "yaml", keyring: keys.keyring });
    expect(open.content().toString()).toBe(text);
    expect(open.metadata.selection).toEqual(selection);
  });

  it("is everything of a binary file, whatever the rule", async () => {
    const sealed = await encrypted("s3cret", { format: "binary", selection: { encrypted_regex: "^none$" } });
    expect(sealed).not.toContain("s3cret");
  });

  it("alone counts for the MAC where that was asked for", async () => {
    const sealed = await encrypted("a: 1\nb_unencrypted: clear\n", { macOnlyEncrypted: true });
    expect(await values(sealed.replace("clear", "other"))).toEqual({ a: 1, b_unencrypted: "other" });
    const all = await encrypted("a: 1\nb_unencrypted: clear\n");
    expect((await failure(values(all.replace("clear", "other")))).exitCode).toBe(51);
    expect((await failure(values(sealed.replace("    mac_only_encrypted: true\n", "")))).exitCode).toBe(51);
  });

  it("is refused where an encrypted comment would be taken for the one that turns encryption off", async () => {
    const error = await failure(
      encrypted("# x\na: 1\n", { selection: { unencrypted_comment_regex: "ENC" } }),
    );
    expect(error.exitCode).toBe(23);
  });
});

describe("a file that was changed by hand", () => {
  let sealed: string;
  beforeAll(async () => {
    sealed = await encrypted(plain.yaml);
  });

  it.each([
    ["a value in the clear is another", "clear", "other", 51, "x.yaml"],
    ["a value was moved", /^b:\n    c:/m, "b:\n    d:", 25, "x.yaml:4:8"],
    ["a value is in the clear", /^a: ENC.*?\]/m, "a: by hand", 25, "x.yaml:2:4"],
    ["a value is a number", /^a: ENC.*?\]/m, "a: 12", 25, "x.yaml:2:4"],
    ["an encrypted value is gone", /^a: ENC.*\n/m, "", 51, "x.yaml"],
    ["the time is another", /lastmodified: .*/, 'lastmodified: "2026-01-02T03:04:06Z"', 51, "x.yaml"],
    ["the MAC is gone", /mac: .*/, 'mac: ""', 51, "x.yaml"],
    ["the file is cut off", /mac: (.|\n)*/, "", 51, "x.yaml"],
    ["the data key is cut off", /-----END AGE.*/, "", 128, "x.yaml"],
    [
      "the keys are gone",
      /age:\n(.|\n)*recipient.*\n/,
      "age: []\n    ",
      1,
      expect.stringMatching(/^x.yaml:\d+:1$/),
    ],
    ["a key was given twice", "empty:", "a:", 1, "x.yaml:9:1"],
  ])("because %s ends with its exit code and place", async (_, from, to, code, at) => {
    const error = await failure(values(sealed.replace(from, to), { file: "x.yaml" }));
    expect(error).toMatchObject({ exitCode: code, at });
    expect(`${error.message} ${error.fix}`).not.toContain("s3cret");
  });

  it("is read all the same where the MAC is to be ignored", async () => {
    const changed = await values(sealed.replace("clear", "other"), { ignoreMac: true });
    expect(changed).toMatchObject({ x_unencrypted: "other" });
  });

  it("is told from one that is not encrypted", async () => {
    const error = await failure(values("a: 1\n", { file: "x.yaml" }));
    expect(error.message).toContain("not encrypted");
  });
});

describe("an open file", () => {
  it("holds its values as plain data, those of several documents as one", async () => {
    const sealed = await encrypted(
      "a: 1\nb: [x, 2.5, null, 2001-01-01]\n---\nc: 12345678901234567\n__proto__: y\n",
    );
    const plain = await values(sealed);
    expect(plain).toMatchObject({ a: 1, b: ["x", 2.5, null, "2001-01-01T00:00:00Z"], c: 12345678901234567n });
    expect(Object.getPrototypeOf(plain)).toBe(Object.prototype);
    expect(plain).not.toHaveProperty("x");
  });

  it("knows where in the encrypted text every value stands", async () => {
    const sealed = await encrypted("# one\na:\n  - x\n  - y\n");
    const { documents } = await decrypt(sealed, { format: "yaml", keyring: keys.keyring });
    const at = find(documents[0]!, ["a", 1])!.at!;
    expect(at).toEqual({ line: 4, column: 7 });
    expect(sealed.split("\n")[at.line - 1]!.slice(at.column - 1)).toMatch(/^ENC/);
  });

  it.each([
    [["b", "c"], 3, { b: { c: 3 } }],
    [["b", "new", "deep"], "x", { b: { new: { deep: "x" } } }],
    [["list", 0], false, { list: [false] }],
    [["list", 7], "end", { list: [true, "end"] }],
    [["a"], { now: ["a", "map"] }, { a: { now: ["a", "map"] } }],
    [["none"], "x", { none: "x" }],
  ])("gets a value at %j", async (path, value, expected) => {
    const open = await decrypt(await encrypted(plain.yaml), { format: "yaml", keyring: keys.keyring });
    expect(await values(set(open, path, value, { now: later }))).toMatchObject(expected);
  });

  it("loses a value, and nothing else", async () => {
    const sealed = await encrypted(plain.yaml);
    const open = await decrypt(sealed, { format: "yaml", keyring: keys.keyring });
    const without = unset(open, ["b", "c"], { now: later });
    const lines = new Set(without.split("\n"));
    const gone = sealed.split("\n").filter((line) => !lines.has(line));
    expect(gone.map((line) => line.trim().split(":")[0])).toEqual(["b", "c", "lastmodified", "mac"]);
    const rest = await decrypt(without, { format: "yaml", keyring: keys.keyring });
    expect(rest.content().toString()).toBe(plain.yaml.replace(/b:\n.*\n(.*\n)/, "b: {\n$1    }\n"));
    expect(await values(unset(open, ["list", 0], { now: later }))).toMatchObject({ list: [] });
  });

  it("says where a path leads nowhere", async () => {
    const open = await decrypt(await encrypted(plain.yaml), { format: "yaml", keyring: keys.keyring });
    expect(() => unset(open, ["b", "d"], { now })).toThrow("there is no b.d in the file");
    expect(() => unset(open, ["list", 1], { now })).toThrow("there is no list[1] in the file");
    expect(() => set(open, ["list", "x"], 1, { now })).toThrow("list is a list");
    expect(() => set(open, ["b", 0], 1, { now })).toThrow("b is a map");
    expect(() => set(open, [], 1, { now })).toThrow("the path names nothing");
    expect(() => set(open, ["sops", "mac"], 1, { now })).toThrow("the key sops is kept");
  });
});

describe("the keys of a file", () => {
  const file = { format: "yaml", file: "x.yaml" } as const;

  it("can be looked at by anyone", async () => {
    const metadata = inspect(await encrypted(plain.yaml), file);
    expect(metadata.keyGroups[0]![0]!.key).toEqual(keys.key);
    expect(metadata.lastModified).toBe("2026-01-02T03:04:05Z");
  });

  it("are updated without touching a value", async () => {
    const sealed = await encrypted(plain.yaml);
    const groups = [[keys.key, other.key]];
    const updated = await updateKeys(sealed, { ...file, keyring: keys.keyring, groups });
    expect(updated).toMatchObject({ changed: true, added: [other.key], removed: [] });
    expect(updated.content.slice(0, updated.content.indexOf("sops:"))).toBe(
      sealed.slice(0, sealed.indexOf("sops:")),
    );
    expect(await values(updated.content, { keyring: other.keyring })).toMatchObject({ a: "s3cret" });
    const again = await updateKeys(updated.content, {
      ...file,
      keyring: keys.keyring,
      groups: [[other.key, keys.key]],
    });
    expect(again).toEqual({ content: updated.content, changed: false, added: [], removed: [] });
  });

  it("change with a new data key on rotation", async () => {
    const sealed = await encrypted(plain.yaml);
    const rotated = await rotate(sealed, {
      ...file,
      keyring: keys.keyring,
      add: [other.key, keys.key],
      remove: [keys.key],
      now: later,
    });
    expect(inspect(rotated, file).keyGroups.map((group) => group.map(({ key }) => key))).toEqual([
      [other.key],
    ]);
    expect((await failure(values(rotated))).exitCode).toBe(128);
    const open = await decrypt(rotated, { ...file, keyring: other.keyring });
    expect(open.content().toString()).toBe(plain.yaml);
    const before = new Set(sealed.match(/ENC\[[^\]]+\]/g));
    expect(rotated.match(/ENC\[[^\]]+\]/g)!.filter((text) => before.has(text))).toEqual([]);
  });

  it("in groups are all needed, and are kept on rotation", async () => {
    const sealed = await encrypted(plain.yaml, { groups: [[keys.key], [other.key]] });
    expect((await failure(values(sealed))).message).toContain("1 of the 2 needed key groups open");
    const updated = await updateKeys(sealed, {
      ...file,
      keyring: other.keyring,
      groups: [[other.key]],
    }).catch((error: unknown) => error);
    expect(updated).toMatchObject({ exitCode: 128 });
  });

  it("are unwrapped once for files that share a data key", async () => {
    const sealed = await encrypted(plain.yaml);
    const before = keys.unwraps();
    await Promise.all(Array.from({ length: 20 }, () => values(sealed)));
    expect(keys.unwraps() - before).toBe(1);
  });
});

describe("hostile input", () => {
  it.each([
    ["nothing", "", "is empty"],
    ["a comment alone", "# x\n", "is empty"],
  ])("%s cannot be encrypted", async (_, text, message) => {
    expect((await failure(encrypted(text))).message).toContain(message);
  });

  it("a file of many megabytes is read", async () => {
    const sealed = await encrypted("x".repeat(8_000_000), { format: "binary" });
    expect((await decrypt(sealed, { format: "binary", keyring: keys.keyring })).content()).toHaveLength(
      8_000_000,
    );
  });

  it("bytes that are no text have to be binary", async () => {
    const bytes = Buffer.from([0x61, 0x3a, 0x20, 0xff]);
    expect((await failure(encrypted(bytes as never))).message).toContain("not UTF-8");
    const sealed = await encrypted(bytes as never, { format: "binary" });
    const open = await decrypt(sealed, { format: "binary", keyring: keys.keyring });
    expect(open.content()).toEqual(bytes);
  });

  it("a block that is no map, or of an unknown kind of key", async () => {
    expect((await failure(values("a: 1\nsops: x\n", { file: "x.yaml" }))).at).toBe("x.yaml:2:1");
    const unknown = 'sops:\n  lastmodified: "2026-01-01T00:00:00Z"\n  quantum: [{ enc: x }]\n';
    expect((await failure(values(unknown, { file: "x.yaml" }))).message).toContain("names no key");
  });
});
