/**
 * Kubernetes quantities (`500m`, `1Gi`, `2e3`): exact arithmetic and the canonical form that API servers store.
 * Grammar and canonical form from https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
 */

export type QuantityFormat = "DecimalSI" | "BinarySI" | "DecimalExponent";

/** A value in billionths: nano is the finest unit that Kubernetes keeps (finer input rounds away from zero). */
export interface Quantity {
  nanos: bigint;
  format: QuantityFormat;
}

export class QuantityError extends Error {
  override name = "QuantityError";
}

const decimal: [suffix: string, exponent: number][] = [
  ["E", 18],
  ["P", 15],
  ["T", 12],
  ["G", 9],
  ["M", 6],
  ["k", 3],
  ["", 0],
  ["m", -3],
  ["u", -6],
  ["n", -9],
];
const binary: [suffix: string, shift: bigint][] = [
  ["Ei", 60n],
  ["Pi", 50n],
  ["Ti", 40n],
  ["Gi", 30n],
  ["Mi", 20n],
  ["Ki", 10n],
];
const one = 1_000_000_000n;
const grammar =
  /^(?<sign>[+-]?)(?:(?<whole>\d+)(?:\.(?<part>\d*))?|\.(?<only>\d+))(?:(?<binary>[KMGTPE]i)|[eE](?<exponent>[+-]?\d+)|(?<suffix>[numkMGTPE]?))$/;

/** Throws `QuantityError` with upstream's words when the text is not a quantity. */
export function toQuantity(text: string | number): Quantity {
  const groups = grammar.exec(String(text).trim())?.groups;
  if (groups === undefined) {
    throw new QuantityError(
      String(text) === ""
        ? "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        : `unable to parse quantity "${text}": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'`,
    );
  }
  const part = groups["part"] ?? groups["only"] ?? "";
  const digits = BigInt((groups["whole"] ?? "") + part);
  const shift = binary.find(([suffix]) => suffix === groups["binary"])?.[1] ?? 0n;
  const exponent = groups["exponent"];
  const power = exponent === undefined ? exponentOf(groups["suffix"] ?? "") : Number(exponent);
  if (Math.abs(power) > 400) throw new QuantityError(`quantity "${text}" is out of range`);
  const nanos = scale(digits << shift, power - part.length + 9);
  return {
    nanos: groups["sign"] === "-" ? -nanos : nanos,
    format: shift > 0n ? "BinarySI" : exponent === undefined ? "DecimalSI" : "DecimalExponent",
  };
}

function exponentOf(suffix: string): number {
  return decimal.find(([name]) => name === suffix)?.[1] ?? 0;
}

function scale(digits: bigint, power: number): bigint {
  if (power >= 0) return digits * 10n ** BigInt(power);
  const divisor = 10n ** BigInt(-power);
  return (digits + divisor - 1n) / divisor;
}

export function isQuantity(text: unknown): text is string | number {
  return (typeof text === "string" || typeof text === "number") && grammar.test(String(text).trim());
}

/** In base units: cores, bytes, counts. Not exact beyond 2^53; use `toQuantity` where that matters. */
export function parseQuantity(text: string | number): number {
  const { nanos } = toQuantity(text);
  return Number(nanos / one) + Number(nanos % one) / 1e9;
}

/** The canonical text: no fraction, the largest suffix that keeps the value exact. */
export function formatQuantity(value: Quantity | number, format: QuantityFormat = "DecimalSI"): string {
  if (typeof value === "number") return formatQuantity({ nanos: nanosOf(value), format });
  const { nanos } = value;
  if (nanos === 0n) return "0";
  if (value.format === "BinarySI" && nanos % one === 0n) {
    const units = nanos / one;
    if (units >= 1024n || units <= -1024n) {
      const [suffix, shift] = binary.find(([, shift]) => units % (1n << shift) === 0n) ?? ["", 0n];
      return `${units / (1n << shift)}${suffix}`;
    }
  }
  const [suffix, exponent] = decimal.find(([, exponent]) => nanos % 10n ** BigInt(exponent + 9) === 0n) ?? [
    "n",
    -9,
  ];
  const digits = nanos / 10n ** BigInt(exponent + 9);
  return value.format === "DecimalExponent" && exponent !== 0
    ? `${digits}e${exponent}`
    : `${digits}${suffix}`;
}

function nanosOf(value: number): bigint {
  const whole = Math.trunc(value);
  return BigInt(whole) * one + BigInt(Math.round((value - whole) * 1e9));
}

/** The canonical form of any valid text; other text comes back as it is, for validation to refuse. */
export function canonicalQuantity(text: string | number): string {
  return isQuantity(text) ? formatQuantity(toQuantity(text)) : String(text);
}

/** The sum in the format of the first operand that is not zero. */
export function addQuantities(...terms: (string | number)[]): string {
  let sum: Quantity = { nanos: 0n, format: "DecimalSI" };
  for (const term of terms) {
    const { nanos, format } = toQuantity(term);
    sum = { nanos: sum.nanos + nanos, format: sum.nanos === 0n ? format : sum.format };
  }
  return formatQuantity(sum);
}

export function subtractQuantities(from: string | number, amount: string | number): string {
  const left = toQuantity(from);
  return formatQuantity({ nanos: left.nanos - toQuantity(amount).nanos, format: left.format });
}

/** Negative, zero or positive, as `Array.sort` wants it. */
export function compareQuantities(left: string | number, right: string | number): number {
  const difference = toQuantity(left).nanos - toQuantity(right).nanos;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
