/**
 * Shamir's secret sharing as sops splits a data key among key groups (its `shamir/shamir.go`): every byte is the value at 0
 * of a polynomial over GF(2^8) with the reduction polynomial of AES, 0x11B. A share is one value per byte, then its x.
 */
import { randomBytes, randomInt } from "node:crypto";
import { SopsError } from "../errors.ts";

/** Splits into shares of which any `threshold` give the secret back. Both counts lie between 2 and 255. */
export function split(secret: Uint8Array, shares: number, threshold: number): Uint8Array[] {
  if (secret.length === 0) throw new RangeError("an empty secret cannot be split");
  if (threshold < 2 || shares > 255 || threshold > shares) {
    throw new RangeError(`a secret cannot be split into ${shares} shares of which ${threshold} are needed`);
  }
  // A polynomial for each byte, lowest coefficient first.
  const polynomials = Array.from(secret, (byte) => [byte, ...randomBytes(threshold - 1)]);
  return distinctXs(shares).map((x) =>
    Uint8Array.from([...polynomials.map((polynomial) => valueAt(polynomial, x)), x]),
  );
}

/**
 * Joins shares. With fewer than the threshold, or with one that is not of the set, it answers a wrong secret; what cannot be
 * a set of shares is a `SopsError`, because files hold them.
 */
export function combine(shares: readonly Uint8Array[]): Uint8Array {
  const length = shares[0]?.length ?? 0;
  if (shares.length < 2) throw damaged("there are less than two");
  if (length < 2 || shares.some((share) => share.length !== length)) {
    throw damaged("their lengths differ, or they are cut off");
  }
  const xs = shares.map((share) => share[length - 1] ?? 0);
  if (xs.includes(0) || new Set(xs).size < xs.length) throw damaged("two are the same, or one is none");
  const weights = xs.map((x) => weightAtZero(x, xs));
  return Uint8Array.from({ length: length - 1 }, (_, at) =>
    shares.reduce((sum, share, index) => sum ^ multiply(share[at] ?? 0, weights[index] ?? 0), 0),
  );
}

function damaged(reason: string): SopsError {
  return new SopsError("couldNotRetrieveKey", `the shares of the data key do not fit together: ${reason}`, {
    fix: "Restore the file from version control.",
  });
}

/** Lagrange's basis polynomial of one x, at 0. */
function weightAtZero(x: number, xs: readonly number[]): number {
  return xs
    .filter((other) => other !== x)
    .reduce((product, other) => multiply(product, multiply(other, inverse(x ^ other))), 1);
}

function valueAt(polynomial: readonly number[], x: number): number {
  return polynomial.reduceRight((value, coefficient) => multiply(value, x) ^ coefficient, 0);
}

/** Never 0, where the secret is. */
function distinctXs(count: number): number[] {
  const xs = new Set<number>();
  while (xs.size < count) xs.add(randomInt(1, 256));
  return [...xs];
}

/** Takes the same steps whatever the factors are. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 0; bit < 8; bit++) {
    product ^= a & -(b & 1);
    a = ((a << 1) ^ (0x11b & -(a >> 7))) & 0xff;
    b >>= 1;
  }
  return product;
}

/** a^254, which is 1/a because a^255 = 1. */
function inverse(a: number): number {
  let power = 1;
  for (let count = 0; count < 254; count++) power = multiply(power, a);
  return power;
}
