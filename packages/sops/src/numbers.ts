/** How numbers are written: exactly as Go's strconv does, since the bytes enter ciphertexts and the MAC. */

/** Shortest digits without an exponent (`FormatFloat(f, 'f', -1, 64)`). */
export function fixed(value: number): string {
  const special = notFinite(value);
  if (special !== undefined) return special;
  const { sign, digits, point } = decimal(value);
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  if (point >= digits.length) return `${sign}${digits}${"0".repeat(point - digits.length)}`;
  return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** Shortest digits, with an exponent of at least two digits below 10^-4 and from 10^6 (`FormatFloat(f, 'g', -1, 64)`). */
export function general(value: number): string {
  const special = notFinite(value);
  if (special !== undefined) return special;
  const { sign, digits, point } = decimal(value);
  const exponent = point - 1;
  if (exponent >= -4 && exponent < 6) return fixed(value);
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
  return `${sign}${digits[0]}${fraction}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function notFinite(value: number): string | undefined {
  if (Number.isNaN(value)) return "NaN";
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  return undefined;
}

/** The shortest digits that give the value back, and how many stand before the point. */
function decimal(value: number): { sign: string; digits: string; point: number } {
  const [mantissa, exponent] = Math.abs(value).toExponential().split("e") as [string, string];
  return { sign: value < 0 ? "-" : "", digits: mantissa.replace(".", ""), point: Number(exponent) + 1 };
}

/** The value of what `fixed` wrote, or of any decimal number. */
export function parseFloating(text: string): number | undefined {
  if (/^[+-]?inf(inity)?$/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity;
  if (/^nan$/i.test(text)) return Number.NaN;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  return Number(text);
}

const minimum = -(2n ** 63n);
const maximum = 2n ** 63n - 1n;

/** A decimal integer of 64 bits, signed. */
export function parseInteger(text: string): bigint | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const value = BigInt(text.replace(/^\+/, ""));
  return value >= minimum && value <= maximum ? value : undefined;
}
