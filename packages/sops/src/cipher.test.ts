import { createCipheriv, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createCipher, isSealed, type Sealable } from "./cipher.ts";

const key = randomBytes(32);

describe("a value", () => {
  it.each<Sealable>([
    { kind: "str", value: "a text\nof two lines, größer" },
    { kind: "bytes", value: Buffer.from([0x80, 0xff]) },
    { kind: "int", value: -42 },
    { kind: "int", value: 9223372036854775807n },
    { kind: "float", value: 1e21 },
    { kind: "bool", value: true },
    { kind: "bool", value: false },
    { kind: "time", value: "2001-02-03T04:05:06.789Z" },
    { kind: "comment", text: " a comment" },
  ])("of type $kind opens as what it was", (value) => {
    const text = createCipher(key).seal(value, "a:b:");
    expect(text).toMatch(/^ENC\[AES256_GCM,data:.+,iv:[A-Za-z0-9+/]{43}=,tag:.+,type:[a-z]+\]$/);
    expect(createCipher(key).open(text, "a:b:")).toEqual(value);
  });

  it("that is empty stays empty", () => {
    const cipher = createCipher(key);
    expect(cipher.seal({ kind: "str", value: "" }, "a:")).toBe("");
    expect(cipher.open("", "a:")).toEqual({ kind: "str", value: "" });
  });

  it("keeps its ciphertext where it was opened before, and only there", () => {
    const text = createCipher(key).seal({ kind: "str", value: "x" }, "a:");
    const cipher = createCipher(key);
    cipher.open(text, "a:");
    expect(cipher.seal({ kind: "str", value: "x" }, "a:")).toBe(text);
    expect(cipher.seal({ kind: "str", value: "y" }, "a:")).not.toBe(text);
    expect(cipher.seal({ kind: "str", value: "x" }, "b:")).not.toBe(text);
    expect(createCipher(key).seal({ kind: "str", value: "x" }, "a:")).not.toBe(text);
  });

  it("with a nonce of another length is read, and gets one of 32 bytes when it is written", () => {
    const nonce = randomBytes(12);
    const aes = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from("a:"));
    const parts = [Buffer.concat([aes.update("x"), aes.final()]), nonce, aes.getAuthTag()];
    const [data, iv, tag] = parts.map((part) => part.toString("base64"));
    const cipher = createCipher(key);
    const value = cipher.open(`ENC[AES256_GCM,data:${data},iv:${iv},tag:${tag},type:str]`, "a:");
    expect(value).toEqual({ kind: "str", value: "x" });
    expect(cipher.seal(value, "a:")).toMatch(/iv:.{43}=,/);
  });
});

describe("what cannot be opened", () => {
  const sealed = createCipher(key).seal({ kind: "str", value: "secret" }, "a:");

  it.each([
    ["in another place", sealed, "b:", "another key or for another place"],
    ["with its type changed to a number", sealed.replace("type:str", "type:int"), "a:", "is no int"],
    ["of an unknown type", sealed.replace("type:str", "type:set"), "a:", 'type "set" is unknown'],
    ["cut off", sealed.slice(0, -20), "a:", "does not have the form"],
    ["in the clear", "secret", "a:", "does not have the form"],
    ["with a short tag", sealed.replace(/tag:[^,]+/, "tag:AAAA"), "a:", "16 bytes"],
  ])("because it is %s is told without its content", (_, text, aad, message) => {
    const open = (): unknown => createCipher(key).open(text, aad);
    expect(open).toThrow(message);
    expect(open).not.toThrow("secret");
  });

  it("because the key is another says so", () => {
    expect(() => createCipher(randomBytes(32)).open(sealed, "a:")).toThrow("another key");
  });

  it("because the data key has a wrong length is refused at once", () => {
    expect(() => createCipher(randomBytes(33))).toThrow("33 bytes instead of 32");
  });
});

describe("isSealed", () => {
  it("knows encrypted values by their form", () => {
    expect(isSealed(createCipher(key).seal({ kind: "int", value: 1 }, "a:"))).toBe(true);
    expect(isSealed("ENC[AES256_GCM]")).toBe(false);
    expect(isSealed(`${createCipher(key).seal({ kind: "int", value: 1 }, "a:")} and more`)).toBe(false);
  });
});
