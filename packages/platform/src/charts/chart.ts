/**
 * A service's Helm chart as kws takes it: looked at before anything is changed, because a chart may come from anywhere.
 * Rendering and installing are Helm's.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { UserError } from "@kws/base/errors";
import type { ProjectService } from "../project/workspace.ts";
import { inside } from "../project/workspace.ts";
import { readYamlFile } from "../project/yaml-file.ts";
import { type Decrypt, isMapping, mergeLayers, openLayers, type OpenLayer, type Values } from "./layers.ts";
import { profileLayers, profileNames } from "./profiles.ts";

export interface Chart {
  dir: string;
  name: string;
  version: string;
  /** SHA-256 over the names and contents of all files. */
  digest: string;
  /** The chart's own values and the profile's, the lowest first. */
  layers: OpenLayer[];
  /** What Helm is given: the profile's layers, merged. */
  values: Values;
  /** Whether the chart has the profile; one that it does not have adds nothing. */
  hasProfile: boolean;
  /** False where no file of the chart speaks of Helm's hooks. */
  hasHooks: boolean;
}

const maxFiles = 2000;
const maxTotal = 20 * 1024 * 1024;
/** Helm refuses bigger files itself (`MaxDecompressedFileSize`). */
const maxFile = 5 * 1024 * 1024;

/** Checks the service's chart and opens the profile's layers. A profile that the chart does not have adds none. */
export async function loadChart(service: ProjectService, profile: string, decrypt: Decrypt): Promise<Chart> {
  return readChart(await chartFolder(service), profile, decrypt);
}

/** Where a service's chart is. */
export async function chartFolder(service: ProjectService): Promise<string> {
  const at = service.file.at(["chart"]);
  const dir = await inside(service.dir, service.config.chart ?? "./chart", at);
  if (existsSync(join(dir, "Chart.yaml"))) return dir;
  throw new UserError(`${service.name} has no chart: ${join(dir, "Chart.yaml")} does not exist`, {
    code: "config",
    at,
    fix: "Put a Helm chart there, or name the chart's folder with `chart`.",
  });
}

/** `loadChart` for the folder of a chart, or of an unpacked package. */
export async function readChart(dir: string, profile: string, decrypt: Decrypt): Promise<Chart> {
  const metadataPath = join(dir, "Chart.yaml");
  const files = await chartFiles(dir);
  const metadata = await readYamlFile(metadataPath);
  const { name, version } = isMapping(metadata.value) ? metadata.value : {};
  if (typeof name !== "string" || typeof version !== "string") {
    throw new UserError(`${metadataPath} needs a name and a version`, {
      code: "config",
      at: metadata.at([]),
    });
  }
  const hasProfile = (await profileNames(dir)).includes(profile);
  const layers = await openLayers(await profileLayers(dir, hasProfile ? profile : undefined), decrypt);
  const content = await readAll(dir, files);
  return { dir, name, version, ...content, layers, values: mergeLayers(layers), hasProfile };
}

/** The paths of all files of a chart. Refuses symlinks (Helm would follow them, to wherever they lead), special files, and too much of anything. */
export async function chartFiles(root: string): Promise<string[]> {
  const files: string[] = [];
  let total = 0;
  const queue = [root];
  for (let dir = queue.pop(); dir !== undefined; dir = queue.pop()) {
    for (const entry of await readdir(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) {
        queue.push(path);
        continue;
      }
      if (!entry.isFile()) {
        const what = entry.isSymbolicLink() ? "a symbolic link" : "not a regular file";
        throw new UserError(`${path} is ${what}, which a chart may not hold`, {
          code: "config",
          at: path,
          fix: "Put the file itself there.",
        });
      }
      const { size } = await lstat(path);
      total += size;
      if (size > maxFile || total > maxTotal || files.push(path) > maxFiles) {
        throw new UserError(`the chart ${root} is too big at ${relative(root, path)}`, {
          code: "config",
          at: path,
          fix: "A chart holds at most 2,000 files, 5 MB each, 20 MB in all.",
        });
      }
    }
  }
  return files.sort();
}

async function readAll(root: string, files: string[]): Promise<Pick<Chart, "digest" | "hasHooks">> {
  const hash = createHash("sha256");
  let hasHooks = false;
  for (const path of files) {
    const content = await readFile(path);
    hash.update(`${relative(root, path)}\0${content.length}\0`).update(content);
    hasHooks ||= content.includes("helm.sh/hook") || isArchive(path);
  }
  return { digest: hash.digest("hex"), hasHooks };
}

/** A packed subchart, whose files are not seen. */
export function isArchive(path: string): boolean {
  return path.endsWith(".tgz") || path.endsWith(".tar.gz");
}
