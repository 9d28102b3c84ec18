/**
 * `npm run bench [NAME…]`: every figure that the project promises, measured on the built product, as one JSON document.
 * Nothing here passes or fails; a figure stands beside its target.
 */
import { loadavg } from "node:os";
import * as cli from "./cli.ts";
import * as cluster from "./cluster.ts";
import * as demo from "./demo.ts";
import * as deploy from "./deploy.ts";
import * as dev from "./dev.ts";
import { machine, type Measurement } from "./measure.ts";
import { disposeAll } from "./product.ts";
import * as pipeline from "./pipeline.ts";
import * as sops from "./sops.ts";
import * as sync from "./sync.ts";
import * as stack from "./stack.ts";
import * as webhooks from "./webhooks.ts";
import * as workspace from "./workspace.ts";

const suites: Record<string, () => Promise<Measurement[]>> = {
  cli: cli.measure,
  cluster: cluster.measure,
  demo: demo.measure,
  deploy: deploy.measure,
  dev: dev.measure,
  pipeline: pipeline.measure,
  sops: sops.measure,
  sync: sync.measure,
  stack: stack.measure,
  webhooks: webhooks.measure,
  workspace: workspace.measure,
};

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void disposeAll().finally(() => process.exit(130)));
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(suites);
const measurements: Measurement[] = [];
/** Processes that wanted to run during the last minute, before: far above 0, others share the machine. */
const load = Number(loadavg()[0]!.toFixed(2));
const unknown = names.find((name) => suites[name] === undefined);
if (unknown !== undefined) {
  process.stderr.write(`there is no benchmark "${unknown}"; there are ${Object.keys(suites).join(", ")}\n`);
  process.exit(2);
}
for (const name of names) {
  const suite = suites[name]!;
  process.stderr.write(`${name} …\n`);
  measurements.push(...(await suite()));
}
process.stdout.write(`${JSON.stringify({ machine: machine(), load, measurements }, undefined, 2)}\n`);
