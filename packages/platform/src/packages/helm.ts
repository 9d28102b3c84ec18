/** Helm's part in a package: the real `helm package` makes the archive, which is then written anew with fixed times. */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { exec, type ExecResult, lastLines } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { chartFault } from "../charts/render.ts";
import { type ArchiveFiles, readArchive } from "./archive.ts";
import type { ChartFiles } from "./source.ts";

export interface HelmPackageOptions {
  /** The program. */
  helm: string;
  /** The chart's name. */
  name: string;
  /** Where the chart is in the repository, for errors. */
  dir: string;
  /** Digests of which the rendered chart must hold one; none for a chart without images of its own. */
  digests: string[];
  env: NodeJS.ProcessEnv;
  signal?: AbortSignal;
}

/** What `helm package` puts into the archive of the chart. Throws `config` for what Helm cannot package or render. */
export async function helmPackage(files: ChartFiles, options: HelmPackageOptions): Promise<ArchiveFiles> {
  const { name, dir } = options;
  await using work = await tempDir("kws-package");
  const staged = join(work.path, name);
  for (const [path, content] of files) {
    await mkdir(dirname(join(staged, path)), { recursive: true });
    await writeFile(join(staged, path), content);
  }
  const out = join(work.path, "out");
  await mkdir(out);
  const made = await helm(options, staged, ["package", "--destination", out, "--", staged]);
  if (made.exitCode !== 0) throw notPackaged(made, dir);
  await checkRenders(staged, options);
  const [archive = ""] = await readdir(out);
  const packed = await readArchive(await readFile(join(out, archive)), archive);
  for (const path of files.keys()) {
    if (!path.startsWith("profiles/") || packed.has(`${name}/${path}`)) continue;
    throw new UserError(`the package would lack ${path}: .helmignore leaves it out`, {
      code: "config",
      at: join(dir, ".helmignore"),
      fix: "Correct .helmignore; profiles travel inside the package.",
    });
  }
  return packed;
}

/**
 * A chart that ignores `image.digest` would run whatever its tag names; and one written for versions without build metadata
 * makes a label with a `+`, which the API server refuses. What does not render with the chart's own values may need those of
 * a profile, and is left to the deployment.
 */
async function checkRenders(staged: string, options: HelmPackageOptions): Promise<void> {
  const { name, dir, digests } = options;
  const rendered = await helm(options, staged, ["template", "--", name, staged]);
  if (rendered.exitCode !== 0) {
    const fault = chartFault(lastLines(rendered.stderr, 6), dir);
    if (fault !== undefined) throw fault;
    return;
  }
  if (/^\s*["']?helm\.sh\/chart["']?: .*\+/m.test(rendered.stdout)) {
    throw new UserError("the chart's label helm.sh/chart would hold a +, which no label may", {
      code: "config",
      at: join(dir, "templates"),
      fix: 'Write it as `{{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}`.',
    });
  }
  if (digests.length === 0 || digests.some((digest) => rendered.stdout.includes(digest))) return;
  throw new UserError("the chart's templates do not use the digest of the image", {
    code: "config",
    at: join(dir, "templates"),
    fix: "Write the image as `{{ .Values.image.repository }}@{{ .Values.image.digest }}` where there is a digest.",
  });
}

function notPackaged(result: ExecResult, dir: string): UserError {
  const said = lastLines(result.stderr, 6).replace(/^Error: /gm, "");
  const fix = /missing in charts/.test(said)
    ? "Commit the charts that it depends on: `helm dependency build`, and no .gitignore for charts/."
    : "Correct the chart.";
  return (
    chartFault(said, dir) ??
    new UserError(`Helm cannot package the chart: ${said}`, { code: "config", at: dir, fix })
  );
}

/** What Helm says of the copy is told of the chart itself. */
async function helm(
  { helm: program, dir, env, signal }: HelmPackageOptions,
  staged: string,
  args: string[],
): Promise<ExecResult> {
  const result = await exec(program, args, { env, ...(signal === undefined ? {} : { signal }) });
  return { ...result, stderr: result.stderr.replaceAll(staged, dir) };
}
