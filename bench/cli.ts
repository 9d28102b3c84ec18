/** Start-up of the command line, beside the same Node doing nothing. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

const run = promisify(execFile);

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const version = (): Promise<number> => time(() => kws.kws("--version"));
  const nothing = (): Promise<number> => time(() => run(process.execPath, ["-e", "0"]));
  await version();
  await nothing();
  // Taken in turns, so that what else the machine does falls on both alike.
  const pairs: [number, number][] = [];
  await repeat(20, async () => {
    pairs.push([await version(), await nothing()]);
    return 0;
  });
  return [
    summarize(
      "kws --version",
      "ms",
      pairs.map(([ours]) => ours),
    ),
    summarize(
      "node -e 0",
      "ms",
      pairs.map(([, theirs]) => theirs),
    ),
    summarize(
      "kws --version ÷ node -e 0",
      "ratio",
      pairs.map(([ours, theirs]) => ours / theirs),
      { atMost: 2 },
    ),
  ];
}
