import { beforeAll, describe, expect, it } from "vitest";
import type { SopsError } from "./errors.ts";
import { decrypt, edit, encrypt, isEncrypted } from "./file.ts";
import type { FormatName } from "./formats/format.ts";
import { ageKeys, type TestKeys } from "./testing/keyring.ts";

const now = new Date("2026-01-02T03:04:05.678Z");
const plain: Record<Exclude<FormatName, "ini">, string> = {
  yaml: '# head\na: s3cret # behind\nb:\n    c: 2\n    # last\nlist:\n    # of the item\n    - true\nempty: ""\nnone: null\nx_unencrypted: clear\n',
  json: '{\n\t"a": "s3cret",\n\t"b": {\n\t\t"c": 2\n\t},\n\t"list": [\n\t\ttrue,\n\t\t1.5\n\t],\n\t"x_unencrypted": 9007199254740993\n}\n',
  dotenv: "# head\nA=s3cret\nB=two\\nlines\nX_unencrypted=clear\n",
  binary: "any \u0000 s3cret",
};

let keys: TestKeys;

beforeAll(async () => {
  keys = await ageKeys();
});

async function encrypted(format: FormatName, text: string, more: object = {}): Promise<string> {
  return encrypt(text, { format, keyring: keys.keyring, groups: [[keys.key]], now, ...more });
}

async function failure(promise: Promise<unknown>): Promise<SopsError> {
  return promise.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => error as SopsError,
  );
}

describe.each(Object.entries(plain) as [FormatName, string][])("a %s file", (format, text) => {
  it("is as before once it was encrypted and decrypted", async () => {
    const sealed = await encrypted(format, text);
    expect(sealed).not.toContain("s3cret");
    expect(isEncrypted(sealed, { format })).toBe(true);
    expect(isEncrypted(text, { format })).toBe(false);
    const open = await decrypt(sealed, { format, keyring: keys.keyring });
    expect(open.content().toString()).toBe(text);
  });

  it("keeps the ciphertext of what an edit leaves as it is", async () => {
    const sealed = await encrypted(format, text);
    const open = await decrypt(sealed, { format, keyring: keys.keyring });
    const again = edit(open, open.content(), { now: new Date("2026-02-02T00:00:00Z") });
    const lines = sealed.split("\n");
    const changed = again.split("\n").filter((line, index) => line !== lines[index]);
    expect(changed.map((line) => /lastmodified|mac/.exec(line)?.[0])).toEqual(["lastmodified", "mac"]);
  });
});

describe("a file that was changed by hand", () => {
  it("fails with exit code 51 where a value in the clear is another", async () => {
    const sealed = await encrypted("yaml", plain.yaml);
    const error = await failure(
      decrypt(sealed.replace("clear", "other"), { format: "yaml", keyring: keys.keyring, file: "x.yaml" }),
    );
    expect(error.message).toContain("MAC does not agree");
    expect(error.exitCode).toBe(51);
  });

  it("fails with exit code 25 and the place where a value was moved", async () => {
    const sealed = await encrypted("yaml", plain.yaml);
    const moved = sealed.replace(/^b:\n    c:/m, "b:\n    d:");
    const error = await failure(decrypt(moved, { format: "yaml", keyring: keys.keyring, file: "x.yaml" }));
    expect(error.exitCode).toBe(25);
    expect(error.at).toBe("x.yaml:4:8");
  });

  it("is read all the same where the MAC is to be ignored", async () => {
    const sealed = await encrypted("yaml", plain.yaml);
    const open = await decrypt(sealed.replace("clear", "other"), {
      format: "yaml",
      keyring: keys.keyring,
      ignoreMac: true,
    });
    expect(open.values()).toMatchObject({ x_unencrypted: "other" });
  });
});
