/** `kws pipeline run` beside the commands that do the same one after the other, with nothing to build: what a pipeline adds to its steps. */
import { execFile } from "node:child_process";
import { cp } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Measurement, summarize, time } from "./measure.ts";
import { product } from "./product.ts";

const run = promisify(execFile);
const payments = fileURLToPath(new URL("../examples/shop/payments", import.meta.url));

export async function measure(): Promise<Measurement[]> {
  await using kws = await product();
  const folder = join(kws.home, "payments");
  await cp(payments, folder, { recursive: true, filter: (path) => basename(path) !== "node_modules" });
  const git = (...args: string[]) =>
    run("git", ["-c", "user.name=A", "-c", "user.email=a@example.com", ...args], { cwd: folder });
  await git("init", "--quiet");
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "Payments");
  const workspace = ["--file", join(folder, "kws.yaml")];
  const pipeline = () => kws.kws("pipeline", "run", "--local", ...workspace);
  const commands = async () => {
    await kws.kws("analyze", "payments", ...workspace);
    await kws.kws("service", "test", "payments", "--level", "unit", ...workspace);
    await kws.kws("package", "payments", ...workspace);
  };
  await kws.kws("cluster", "start");
  await pipeline();
  await commands();
  const [together, single]: [number[], number[]] = [[], []];
  for (let index = 0; index < 5; index++) {
    together.push(await time(pipeline));
    single.push(await time(commands));
  }
  const added = together.map((ms, index) => ms - (single[index] ?? 0));
  return [
    summarize("kws pipeline run, all unchanged", "ms", together),
    summarize("kws pipeline run − its commands one after the other", "ms", added, { atMost: 2000 }),
  ];
}
