import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { combine, split } from "./shamir.ts";

const secret = Uint8Array.from(randomBytes(32));

test("any of the shares that are enough give the secret back, in any order", () => {
  const shares = split(secret, 5, 3);
  for (const [a, b, c] of [
    [0, 1, 2],
    [4, 2, 0],
    [3, 1, 4],
  ] as const) {
    expect(combine([at(shares, a), at(shares, b), at(shares, c)])).toEqual(secret);
  }
  expect(combine(shares)).toEqual(secret);
});

test("fewer shares than the threshold give something else", () => {
  const shares = split(secret, 3, 3);
  expect(combine([at(shares, 0), at(shares, 1)])).not.toEqual(secret);
});

test("a share holds a value for every byte and then an x that is its own", () => {
  const shares = split(secret, 255, 2);
  expect(new Set(shares.map((share) => share.length))).toEqual(new Set([33]));
  expect(new Set(shares.map((share) => share[32])).size).toBe(255);
});

test("known shares give the known secret", () => {
  // The line 0x53 + 0xCA·x, where 0xCA·0x53 = 1 in the field of AES (FIPS 197): at 1 it is 0x99, and at 0x53 it is 0x52.
  expect(combine([Uint8Array.of(0x99, 1), Uint8Array.of(0x52, 0x53)])).toEqual(Uint8Array.of(0x53));
});

test.each([
  ["one share", [Uint8Array.of(1, 1)]],
  ["shares of different lengths", [Uint8Array.of(1, 1), Uint8Array.of(1, 2, 2)]],
  ["shares without a value", [Uint8Array.of(1), Uint8Array.of(2)]],
  ["the same share twice", [Uint8Array.of(7, 1), Uint8Array.of(7, 1)]],
  ["a share at 0", [Uint8Array.of(7, 0), Uint8Array.of(7, 1)]],
])("%s are refused", (_, shares) => {
  expect(() => combine(shares)).toThrow(expect.objectContaining({ reason: "couldNotRetrieveKey" }));
});

test.each([
  [1, 1],
  [2, 3],
  [256, 2],
  [3, 1],
])("a secret is not split into %d shares of which %d are needed", (shares, threshold) => {
  expect(() => split(secret, shares, threshold)).toThrow(RangeError);
});

function at(shares: Uint8Array[], index: number): Uint8Array {
  return shares[index] ?? Uint8Array.of();
}
