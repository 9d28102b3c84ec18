/** `kws demo` with nothing built, again on new clusters with the images there, and where nothing is to be done. */
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const cold = await time(() => kws.kws("demo"));
  const again = await repeat(3, () => time(() => kws.kws("demo")));
  const warm = await repeat(3, async () => {
    await kws.kws("cluster", "reset", "--yes");
    return time(() => kws.kws("demo"));
  });
  return [
    summarize("kws demo, cold", "ms", [cold], { atMost: 60_000 }),
    summarize("kws demo, images built", "ms", warm, { atMost: 10_000 }),
    summarize("kws demo, nothing changed", "ms", again),
  ];
}
