/**
 * The library chart: named templates that service charts share (library/, a folder of plain Helm). Each chart carries a copy of
 * it in `charts/kws`, so that Helm alone can install it.
 */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

/** Beside this file, as source in the repository and where the command line was built. */
const folder = fileURLToPath(new URL("./library/", import.meta.url));

/** Where a chart has its copy. */
export const libraryPath = "charts/kws";

/** The library's files by their paths inside a chart. */
export async function libraryFiles(): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(
      files
        .sort()
        .map(async (path) => [join(libraryPath, path.slice(folder.length)), await readFile(path, "utf8")]),
    ),
  );
}

/** Whether a chart's copy is older than the library of this kws; false where it has none. */
export async function libraryIsOld(chart: string): Promise<boolean> {
  const copy = join(chart, libraryPath, "Chart.yaml");
  if (!existsSync(copy)) return false;
  const [own, theirs] = await Promise.all([join(folder, "Chart.yaml"), copy].map(versionOf));
  return (theirs ?? "").localeCompare(own ?? "", "en", { numeric: true }) < 0;
}

async function versionOf(path: string): Promise<string> {
  const value: unknown = parse(await readFile(path, "utf8"), { maxAliasCount: 10 });
  const version = typeof value === "object" && value !== null && "version" in value ? value.version : "";
  return String(version);
}
