/**
 * The chart that a package is made of: the files that git keeps, read once and looked at before anything is built. What is
 * not a plain file inside the chart's folder is refused.
 */
import { lstat, readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { chartFolder } from "../charts/chart.ts";
import { profileChain, profileNames } from "../charts/profiles.ts";
import type { ProjectService } from "../project/workspace.ts";
import { parseYaml } from "../project/yaml-file.ts";
import { limits } from "./archive.ts";
import { type GitSettings, listKept } from "./revision.ts";
import { isVersion } from "./version.ts";

/** Contents by path, relative to the chart's folder. */
export type ChartFiles = Map<string, Uint8Array>;

export interface ChartSource {
  /** Absolute. */
  dir: string;
  /** As Chart.yaml has it. */
  version: string;
  files: ChartFiles;
}

/** Throws `config` for a chart that cannot be packaged, with the file that is at fault. */
export async function readSource(service: ProjectService, settings: GitSettings): Promise<ChartSource> {
  const at = service.file.at(["chart"]);
  const dir = await chartFolder(service);
  for (const profile of await profileNames(dir)) await profileChain(dir, profile);
  const files = await readFiles(dir, await listKept(dir, settings));
  const path = join(dir, "Chart.yaml");
  const text = files.get("Chart.yaml");
  if (text === undefined) {
    throw new UserError(`${service.name} has no chart to package: git keeps no ${path}`, {
      code: "config",
      at,
      fix: "Add a Helm chart there, or name the chart's folder with `chart`.",
    });
  }
  const metadata = parseYaml(path, Buffer.from(text).toString());
  const { name, version } = (metadata.value ?? {}) as { name?: unknown; version?: unknown };
  if (name !== service.name) {
    throw new UserError(`the chart is called ${JSON.stringify(name)}, and its service "${service.name}"`, {
      code: "config",
      at: metadata.at(["name"]),
      fix: `Call the chart "${service.name}": a package is found by its service's name.`,
    });
  }
  if (typeof version !== "string" || !isVersion(version)) {
    throw new UserError(`the chart's version, ${JSON.stringify(version)}, is not SemVer`, {
      code: "config",
      at: metadata.at(["version"]),
      fix: "Write it like 1.4.0.",
    });
  }
  return { dir, version, files };
}

async function readFiles(dir: string, paths: string[]): Promise<ChartFiles> {
  const files: ChartFiles = new Map();
  let total = 0;
  for (const path of paths) {
    const full = join(dir, path);
    const size = await plainSize(full);
    if (size === undefined) continue;
    total += size;
    if (size > limits.file || total > limits.total || files.size >= limits.files) {
      throw new UserError(`the chart ${dir} is too big at ${path}`, {
        code: "config",
        at: full,
        fix: "A chart holds at most 2,000 files, 5 MB each, 20 MB in all.",
      });
    }
    files.set(path, await readFile(full));
  }
  return files;
}

/** Undefined for a file that is gone though git knows it: a change that is not committed. */
async function plainSize(path: string): Promise<number | undefined> {
  try {
    const stats = await lstat(path);
    // A folder on the way may be a link too.
    const link = stats.isSymbolicLink() || (await realpath(path)) !== path;
    if (stats.isFile() && !link) return stats.size;
    throw new UserError(
      `${path} is ${link ? "a symbolic link" : "not a file"}, which a package may not hold`,
      {
        code: "config",
        at: path,
        fix: "Put the file itself there.",
      },
    );
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
