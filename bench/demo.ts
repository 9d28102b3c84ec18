/** `kws demo` with nothing built, and again on a new cluster with the images there. */
import { type Measurement, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const cold = await time(() => kws.kws("demo"));
  await kws.kws("cluster", "reset", "--yes");
  const warm = await time(() => kws.kws("demo"));
  const again = await time(() => kws.kws("demo"));
  return [
    summarize("kws demo, cold", "ms", [cold], { atMost: 60_000 }),
    summarize("kws demo, images built", "ms", [warm], { atMost: 10_000 }),
    summarize("kws demo, nothing changed", "ms", [again]),
  ];
}
