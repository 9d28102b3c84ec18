/**
 * Which type a YAML scalar has: exactly as go-yaml v3 resolves it, since a value in the clear enters the MAC by its type
 * (`0x10` as 16, `0777` as 511, `yes` as a text).
 */
import { parseFloating } from "../../numbers.ts";
import { integer, str, strOfBytes, type Place, type Scalar } from "../../tree.ts";

const words = new Map<string, Scalar>([
  ...["", "~", "null", "Null", "NULL"].map((word): [string, Scalar] => [word, { kind: "null" }]),
  ...["true", "True", "TRUE"].map((word): [string, Scalar] => [word, { kind: "bool", value: true }]),
  ...["false", "False", "FALSE"].map((word): [string, Scalar] => [word, { kind: "bool", value: false }]),
  ...[".nan", ".NaN", ".NAN"].map((word): [string, Scalar] => [word, { kind: "float", value: Number.NaN }]),
  ...[".inf", ".Inf", ".INF"].flatMap((word): [string, Scalar][] => [
    [word, { kind: "float", value: Infinity }],
    [`+${word}`, { kind: "float", value: Infinity }],
    [`-${word}`, { kind: "float", value: -Infinity }],
  ]),
]);

/** An integer that go-yaml reads but that does not fit 64 bits with a sign: sops cannot keep it. */
export class IntegerTooLarge extends Error {}

/** The scalar that an unquoted text without a tag is. */
export function resolvePlain(text: string, at?: Place): Scalar {
  const word = words.get(text);
  if (word !== undefined) return { ...word, at };
  // Nothing else that is not a text begins otherwise.
  if (!/^[-+.\d]/.test(text)) return str(text, at);
  const time = resolveTime(text);
  if (time !== undefined) return { kind: "time", value: time, at };
  if (text.startsWith(".")) {
    const value = parseFloating(text);
    return value === undefined ? str(text, at) : { kind: "float", value, at };
  }
  const digits = text.replaceAll("_", "");
  const whole = resolveInteger(digits);
  if (whole !== undefined) {
    if (whole >= -(2n ** 63n) && whole < 2n ** 63n) return integer(whole, at);
    if (whole >= 0n && whole < 2n ** 64n) throw new IntegerTooLarge();
  }
  if (/^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$/.test(digits))
    return { kind: "float", value: Number(digits), at };
  return str(text, at);
}

/** Decimal, or by its prefix hexadecimal, binary or octal; a leading zero alone is octal too. */
function resolveInteger(text: string): bigint | undefined {
  const match = /^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9]\d*)$/.exec(text);
  if (match === null) return undefined;
  const digits = match[2]!;
  const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return match[1] === "-" ? -value : value;
}

const timePattern =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2}))|(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d+))?))?$/;

/** RFC 3339 with nanoseconds as far as there are any; nothing where the text is no time. */
function resolveTime(text: string): string | undefined {
  const match = timePattern.exec(text);
  if (match === null) return undefined;
  const part = (index: number): string => (match[index] ?? "0").padStart(2, "0");
  const [year, month, day] = [match[1]!, part(2), part(3)];
  const spaced = match[9] !== undefined;
  const [hour, minute, second] = spaced ? [part(9), part(10), part(11)] : [part(4), part(5), part(6)];
  const fraction = ((spaced ? match[12] : match[7]) ?? "").slice(0, 9).replace(/0+$/, "");
  const zone = /^[+-]00:00$/.test(match[8] ?? "Z") ? "Z" : (match[8] ?? "Z");
  const date = new Date(`${year}-${month}-${day}T00:00:00Z`);
  if (Number.isNaN(date.getTime()) || date.getUTCDate() !== Number(day)) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}${fraction === "" ? "" : `.${fraction}`}${zone}`;
}

/** The scalar of a text with a tag, `undefined` where the two do not agree. */
export function resolveTagged(text: string, tag: string, at?: Place): Scalar | undefined {
  const name = tag.replace(/^tag:yaml\.org,2002:/, "");
  if (name === "binary") {
    const compact = text.replace(/\s/g, "");
    return /^[A-Za-z0-9+/]*={0,2}$/.test(compact)
      ? strOfBytes(Buffer.from(compact, "base64"), at)
      : undefined;
  }
  const kind = { null: "null", bool: "bool", int: "int", float: "float", timestamp: "time" }[name];
  if (kind === undefined) return str(text, at);
  const scalar = resolvePlain(text, at);
  if (kind === "float" && scalar.kind === "int") return { kind: "float", value: Number(scalar.value), at };
  return scalar.kind === kind ? scalar : undefined;
}

/** Whether a text without quotes would be read as this very text, by old readers of YAML too. */
export function isPlainText(text: string): boolean {
  if (text === "<<") return false;
  if (/^([yYnN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$/.test(text)) return false;
  if (/^[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?$/.test(text)) return false;
  try {
    return resolvePlain(text).kind === "str";
  } catch {
    return false;
  }
}
