/**
 * `npm run bench [NAME…]`: every figure that the project promises, measured on the built product, as one JSON document.
 * Nothing here passes or fails; a figure stands beside its target.
 */
import * as cli from "./cli.ts";
import * as cluster from "./cluster.ts";
import * as demo from "./demo.ts";
import { machine, type Measurement } from "./measure.ts";

const suites: Record<string, () => Promise<Measurement[]>> = {
  cli: cli.measure,
  cluster: cluster.measure,
  demo: demo.measure,
};

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
const measurements: Measurement[] = [];
for (const name of names) {
  const suite = suites[name];
  if (suite === undefined) {
    process.stderr.write(`there is no benchmark "${name}"; there are ${Object.keys(suites).join(", ")}\n`);
    process.exit(2);
  }
  process.stderr.write(`${name} …\n`);
  measurements.push(...(await suite()));
}
process.stdout.write(`${JSON.stringify({ machine: machine(), measurements }, undefined, 2)}\n`);
