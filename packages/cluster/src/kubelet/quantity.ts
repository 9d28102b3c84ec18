/** Resource quantities (`500m`, `64Mi`, `1e3`) as numbers, and back in a divisor's units for the downward API. */

const factors: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** NaN where the text is no quantity. */
export function parseQuantity(text: string | number): number {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?|[KMGTPE]i)$/.exec(String(text));
  if (match === null) return Number.NaN;
  return Number(match[1]) * (factors[match[2] ?? ""] ?? Number.NaN);
}

/** The quantity in units of the divisor, rounded up (https://kubernetes.io/docs/concepts/workloads/pods/downward-api/). */
export function inUnitsOf(quantity: number, divisor: string | undefined): string {
  const unit = divisor === undefined || divisor === "0" ? 1 : parseQuantity(divisor);
  // 1e-9 keeps floating point noise from rounding 100m/1m up to 101.
  return String(Math.ceil(quantity / unit - 1e-9));
}
