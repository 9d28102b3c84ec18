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

export interface Chart {
  dir: string;
  name: string;
  version: string;
  /** SHA-256 over the names and contents of all files. */
  digest: string;
  /** The values of the profile, over the chart's own. */
  values: Record<string, unknown>;
  /** Whether the chart has the profile; one that it does not have adds nothing. */
  hasProfile: boolean;
}

const maxFiles = 2000;
const maxTotal = 20 * 1024 * 1024;
/** Helm refuses bigger files itself (`MaxDecompressedFileSize`). */
const maxFile = 5 * 1024 * 1024;

/** Checks the chart and reads the profile's values. A profile that the chart does not have adds none. */
export async function loadChart(service: ProjectService, profile: string): Promise<Chart> {
  const at = service.file.at(["chart"]);
  const dir = await inside(service.dir, service.config.chart ?? "./chart", at);
  const metadataPath = join(dir, "Chart.yaml");
  if (!existsSync(metadataPath)) {
    throw new UserError(`${service.name} has no chart: ${metadataPath} does not exist`, {
      code: "config",
      at,
      fix: "Put a Helm chart there, or name the chart's folder with `chart`.",
    });
  }
  const files = await listFiles(dir);
  const metadata = await readYamlFile(metadataPath);
  const { name, version } = toRecord(metadata.value, metadataPath);
  if (typeof name !== "string" || typeof version !== "string") {
    throw new UserError(`${metadataPath} needs a name and a version`, {
      code: "config",
      at: metadata.at([]),
    });
  }
  await toValues(join(dir, "values.yaml"));
  const profilePath = join(dir, "profiles", profile, "values.yaml");
  const values = await toValues(profilePath);
  const digest = await digestOf(dir, files);
  return { dir, name, version, digest, values, hasProfile: existsSync(profilePath) };
}

async function toValues(path: string): Promise<Record<string, unknown>> {
  if (!existsSync(path)) return {};
  const file = await readYamlFile(path);
  return file.value === null || file.value === undefined ? {} : toRecord(file.value, path);
}

function toRecord(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UserError(`${path} must hold a mapping`, { code: "config", at: `${path}:1:1` });
}

/** Refuses symlinks (Helm would follow them, to wherever they lead), special files, and too much of anything. */
async function listFiles(root: string): Promise<string[]> {
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

async function digestOf(root: string, files: string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of files) {
    const content = await readFile(path);
    hash.update(`${relative(root, path)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** Later values win; mappings are merged, everything else is replaced, as Helm does. */
export function mergeValues(
  base: Record<string, unknown>,
  over: Record<string, unknown>,
): Record<string, unknown> {
  const merged = new Map(Object.entries(base));
  for (const [key, value] of Object.entries(over)) {
    const before = merged.get(key);
    merged.set(key, isMapping(before) && isMapping(value) ? mergeValues(before, value) : value);
  }
  return Object.fromEntries(merged);
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
