/** Repeated measurements, and the machine they were taken on. */
import { cpus, release, totalmem } from "node:os";

export interface Measurement {
  name: string;
  unit: "ms" | "per second" | "percent of a core" | "MB" | "ratio";
  /** What the project promises, and whether more or less is better. */
  target?: { atMost: number } | { atLeast: number };
  /** Whether the median is within the target. */
  met?: boolean;
  minimum: number;
  median: number;
  maximum: number;
  runs: number;
}

export function summarize(
  name: string,
  unit: Measurement["unit"],
  values: number[],
  target?: Measurement["target"],
): Measurement {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number): number => Number((sorted[index] ?? Number.NaN).toFixed(2));
  const median = at(Math.floor(sorted.length / 2));
  return {
    name,
    unit,
    ...(target === undefined
      ? {}
      : { target, met: "atMost" in target ? median <= target.atMost : median >= target.atLeast }),
    minimum: at(0),
    median,
    maximum: at(sorted.length - 1),
    runs: sorted.length,
  };
}

/** Milliseconds that the work took. */
export async function time(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export async function repeat(times: number, work: () => Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let run = 0; run < times; run++) values.push(await work());
  return values;
}

export function machine(): Record<string, string | number> {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryMB: Math.round(totalmem() / 1e6),
    kernel: release(),
    node: process.version,
  };
}
