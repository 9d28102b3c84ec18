/**
 * Whether Helm can render a chart at all, asked before anything is changed. What renders depends on the chart and its values
 * alone, so a good answer is remembered.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { exec, lastLines } from "@kws/base/exec";
import type { KubeconfigRef } from "../providers/provider.ts";
import type { Chart } from "./chart.ts";
import { mergeValues, type Values } from "./layers.ts";
import { requestedMemory } from "./memory.ts";
import { redactor } from "./redact.ts";

/** A chart, in a folder or an archive, and its values. */
export type Rendered = Pick<Chart, "dir" | "layers" | "values">;

export interface RenderOptions {
  /** The program. */
  helm: string;
  release: string;
  namespace: string;
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  /** Of the cluster that it is rendered for: templates may look there, and ask what it can do. */
  kubeconfig?: KubeconfigRef;
  /** Whether the release is there already, which templates may ask too. */
  upgrade?: boolean;
}

export interface CheckOptions extends RenderOptions {
  /** What will stand in for the images that are still to be built. */
  images: Record<string, unknown>;
  cache: string;
}

/**
 * Throws `config` with the place for a chart whose files are at fault. What only a cluster can tell is left to the install.
 * Answers the bytes of memory that its pods will ask for, as far as that is known.
 */
export async function checkRenders(chart: Chart, options: CheckOptions): Promise<number> {
  const values = mergeValues(chart.values, options.images);
  const identity = JSON.stringify([chart.digest, values, options.release, options.namespace]);
  const hash = createHash("sha256").update(identity).digest("hex");
  const record = join(options.cache, "charts", `${hash}.memory`);
  const known = await readFile(record, "utf8").catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  });
  if (known !== "") return Number(known);
  const result = await template(chart, values, options);
  if (result.exitCode === 0) {
    const memory = requestedMemory(result.stdout);
    await makeFolder(join(options.cache, "charts"));
    await replaceFile(record, String(memory));
    return memory;
  }
  const fault = chartFault(result.said, chart.dir);
  if (fault !== undefined) throw fault;
  return 0;
}

/** What Helm would install and keep. */
export interface RenderedRelease {
  /** YAML documents, each after a line `# Source: <path of its template>`, without hooks. */
  manifest: string;
  /** `path` is the template's; `events` such as `pre-install`. */
  hooks: { kind: string; name: string; path: string; manifest: string; events: string[] }[];
  /** Bytes of the Secret in which Helm would keep it. */
  size: number;
}

/** The release as Helm would keep it: `helm install` tells it, and installs nothing. */
export async function renderRelease(
  chart: Rendered,
  options: RenderOptions & { /** Values may be missing. */ withoutSchema?: boolean },
): Promise<RenderedRelease> {
  const { helm, release, namespace, env, signal, kubeconfig } = options;
  const place = [`--namespace=${namespace}`, ...(kubeconfig === undefined ? [] : target(kubeconfig))];
  const dryRun = `--dry-run=${kubeconfig === undefined ? "client" : "server"}`;
  const how = [dryRun, ...(options.withoutSchema === true ? ["--skip-schema-validation"] : [])];
  const args = ["install", ...how, "--output=json", "--values=-", ...place, "--", release, chart.dir];
  const result = await exec(helm, args, { env, signal, input: JSON.stringify(chart.values) });
  if (result.exitCode !== 0) throw unrendered(chart, result.stderr);
  const kept = JSON.parse(result.stdout) as { manifest?: string; hooks?: RenderedRelease["hooks"] };
  // As Helm's `encodeRelease` does.
  const packed = await promisify(gzip)(result.stdout, { level: 9 });
  return {
    manifest: kept.manifest ?? "",
    hooks: kept.hooks ?? [],
    size: Math.ceil(packed.length / 3) * 4,
  };
}

/** What Helm makes of the chart and its profile, secrets included. */
export async function renderManifests(chart: Rendered, options: RenderOptions): Promise<string> {
  const { exitCode, stdout, said } = await template(chart, chart.values, options);
  if (exitCode === 0) return stdout;
  throw unrendered(chart, said);
}

function unrendered(chart: Rendered, stderr: string): UserError {
  const said = redactor(chart.layers).text(lastLines(stderr, 6));
  return chartFault(said, chart.dir) ?? new UserError(`helm template failed: ${said}`, { code: "config" });
}

function target({ path, context }: KubeconfigRef): string[] {
  return [`--kubeconfig=${path}`, ...(context === undefined ? [] : [`--kube-context=${context}`])];
}

/** `said` is the end of what Helm wrote to standard error, without secrets. */
async function template(
  chart: Rendered,
  values: Values,
  { helm, release, namespace, env, signal, kubeconfig, upgrade }: RenderOptions,
): Promise<{ exitCode: number; stdout: string; said: string }> {
  const options = ["--values=-", `--namespace=${namespace}`];
  if (upgrade === true) options.push("--is-upgrade");
  if (kubeconfig !== undefined) options.push("--dry-run=server", ...target(kubeconfig));
  const args = ["template", ...options, "--", release, chart.dir];
  const result = await exec(helm, args, { env, signal, input: JSON.stringify(values) });
  const said = redactor(chart.layers).text(lastLines(result.stderr, 6));
  return { exitCode: result.exitCode, stdout: result.stdout, said };
}

/** A `config` error for what Helm says of a chart's own files; undefined where the fault lies elsewhere. */
export function chartFault(said: string, dir: string): UserError | undefined {
  const ofChart =
    /parse error|YAML|Chart\.yaml|strict decoding|values don't meet|executing "|execution error/i;
  if (!ofChart.test(said)) return undefined;
  const place = /[\w.-]+\/((?:templates|crds|charts)\/[^\s:)]+)(?::(\d+))?(?::(\d+))?/.exec(said);
  const at =
    place?.[1] === undefined
      ? dir
      : [join(dir, place[1]), place[2], place[3]].filter((part) => part !== undefined).join(":");
  return new UserError(
    `Helm cannot use the chart: ${said.replaceAll(/^Error: |\n?^Use --debug flag.*$/gm, "")}`,
    {
      code: "config",
      at,
      fix: "Correct the chart or its values.",
    },
  );
}
