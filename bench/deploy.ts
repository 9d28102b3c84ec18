/** `kws deploy` beside `helm upgrade --install --wait` of the same chart and values on the same cluster. */
import { execFile } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
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
  const out = join(kws.home, "out");
  const workspace = ["--file", join(folder, "kws.yaml")];
  const packed = await kws.kws(
    "package",
    "--version=1.0.0",
    "--destination",
    out,
    ...workspace,
    "-o",
    "json",
  );
  const [{ file }] = JSON.parse(packed) as [{ file: string }];
  const { kubeconfigPath } = JSON.parse(await kws.kws("cluster", "start", "-o", "json")) as {
    kubeconfigPath: string;
  };
  const { helm } = JSON.parse(await kws.kws("version", "-o", "json")) as { helm: { path: string } };
  const values = join(kws.home, "values.yaml");
  await writeFile(values, await readFile(join(folder, "chart/profiles/local/values.yaml")));

  // Every run changes the pods' template, so that each waits for new pods.
  const change = (index: number) => ["--set", `config.RUN=run-${index}`];
  const ours = (index: number) =>
    time(() => kws.kws("deploy", "payments", "-p", "local", "-n", "ours", ...workspace, ...change(index)));
  const theirs = (index: number) => {
    const args = [
      "upgrade",
      "--install",
      "payments",
      file,
      "--wait",
      "--namespace",
      "theirs",
      "--create-namespace",
    ];
    const env = { PATH: process.env["PATH"], HOME: kws.home, KUBECONFIG: kubeconfigPath };
    return time(() => run(helm.path, [...args, "--values", values, ...change(index)], { env }));
  };
  await ours(0);
  await theirs(0);
  // Taken in turns, so that what else the machine does falls on both alike.
  const pairs: [number, number][] = [];
  for (let index = 1; index <= 10; index++) pairs.push([await ours(index), await theirs(index)]);
  return [
    summarize(
      "kws deploy",
      "ms",
      pairs.map(([mine]) => mine),
    ),
    summarize(
      "helm upgrade --install --wait",
      "ms",
      pairs.map(([, other]) => other),
    ),
    summarize(
      "kws deploy ÷ helm upgrade --install --wait",
      "ratio",
      pairs.map(([mine, other]) => mine / other),
      { atMost: 1.15 },
    ),
  ];
}
