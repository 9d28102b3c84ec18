/** What a command costs in a workspace that lists 500 services, beside one that lists only the five that are meant. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Measurement, repeat, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

const runs = 10;
const listed = 500;
const selected = 5;

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const large = await workspace(join(kws.home, "large"), listed);
  const small = await workspace(join(kws.home, "small"), selected);
  const list = () => time(() => kws.kws("service", "list", "--file", large));
  const plan = (file: string) => time(() => kws.kws("stack", "start", "few", "--dry-run", "--file", file));
  // The first plan unpacks Helm.
  await plan(small);
  const stopped = await repeat(runs, list);
  // Taken in turns, so that what else the machine does falls on both alike.
  const pairs: [number, number][] = [];
  await repeat(runs, async () => {
    pairs.push([await plan(large), await plan(small)]);
    return 0;
  });
  await kws.kws("cluster", "start");
  const running = await repeat(runs, list);
  const planned = (index: 0 | 1) => pairs.map((pair) => pair[index]);
  return [
    summarize(`kws service list, ${listed} services`, "ms", running, { atMost: 300 }),
    summarize(`kws service list, ${listed} services, no cluster`, "ms", stopped, { atMost: 300 }),
    summarize(`plan ${selected} of ${listed} services`, "ms", planned(0)),
    summarize(`plan ${selected} of ${selected} services`, "ms", planned(1)),
    summarize(
      `plan ${selected} of ${listed} ÷ ${selected} of ${selected}`,
      "ratio",
      pairs.map(([many, few]) => many / few),
    ),
  ];
}

/** A kws.yaml with a stack of the first five services; each has a chart. */
async function workspace(dir: string, count: number): Promise<string> {
  const names = Array.from({ length: count }, (_, index) => `service-${index + 1}`);
  for (const name of names) {
    const chart = join(dir, name, "chart/templates");
    await mkdir(chart, { recursive: true });
    await writeFile(join(dir, name, "kws.yaml"), `name: ${name}\n`);
    await writeFile(join(chart, "../Chart.yaml"), `apiVersion: v2\nname: ${name}\nversion: 1.0.0\n`);
    const object = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\n`;
    await writeFile(join(chart, "map.yaml"), object);
  }
  const services = names.map((name) => `  ${name}: { path: ./${name} }\n`).join("");
  const few = names.slice(0, selected).join(", ");
  const file = join(dir, "kws.yaml");
  await writeFile(file, `services:\n${services}stacks:\n  few: { services: [${few}] }\n  all: {}\n`);
  return file;
}
