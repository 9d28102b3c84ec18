import { expect, test } from "vitest";
import { isSameHash, newToken, parseToken } from "./bearer.ts";

test("a token is found by its id and known by its secret, which is not kept", () => {
  const token = newToken();
  const parsed = parseToken(token.text);
  expect(parsed?.id).toBe(token.id);
  expect(isSameHash(parsed?.hash ?? Buffer.alloc(0), token.hash)).toBe(true);
  expect(token.text).not.toContain(token.hash.toString("base64url"));
});

test("secrets with any bytes can be read back", () => {
  for (const byte of [0x00, 0xff, 0xfb, 0xef]) {
    const token = newToken((bytes) => Buffer.alloc(bytes, byte));
    expect(parseToken(token.text)?.id, `${byte}`).toBe(token.id);
  }
});

test.each(["", "kws_", "kws_short_secret", "Bearer x", `kws_${"a".repeat(12)}_${"b".repeat(42)}`])(
  "%j is not a token",
  (text) => {
    expect(parseToken(text)).toBeUndefined();
  },
);

test("another's secret is not the same", () => {
  expect(isSameHash(newToken().hash, newToken().hash)).toBe(false);
  expect(isSameHash(newToken().hash, Buffer.alloc(0))).toBe(false);
});
