/** What a folder holds that could be services: Dockerfiles, charts, package.json files. For `kws init`. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { parse } from "yaml";
import { fileName, toName } from "./workspace.ts";
import { yamlString } from "./yaml-file.ts";

export interface Discovered {
  name: string;
  /** Relative to the root, `.` for the root itself. */
  path: string;
  dockerfile?: string;
  /** The chart's folder, relative to the service's. */
  chart?: string;
  node: boolean;
  /** npm's command that brings what the program needs; undefined where it needs nothing. */
  install?: "ci" | "install";
  /** It has a kws.yaml already. */
  configured: boolean;
}

const passedOver = new Set(["node_modules", "dist", "build", "target", "vendor", "testdata", "templates"]);
const maxDepth = 4;

/** Folders with a Dockerfile or a chart; a folder with only a package.json counts where nothing else was found. */
export async function discover(root: string): Promise<Discovered[]> {
  const all = await walk(root, root, 0);
  const strong = all.filter(
    (one) => one.configured || one.dockerfile !== undefined || one.chart !== undefined,
  );
  const found = strong.length > 0 ? strong : all;
  const names = new Map<string, number>();
  return found
    .sort((a, b) => a.path.localeCompare(b.path))
    .map((one) => {
      const count = (names.get(one.name) ?? 0) + 1;
      names.set(one.name, count);
      return count === 1 ? one : Object.assign(one, { name: toName(one.path.replaceAll("/", "-")) });
    });
}

/** `charts` are the folders of charts that belong to services found above. */
async function walk(
  root: string,
  dir: string,
  depth: number,
  charts: readonly string[] = [],
): Promise<Discovered[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  const files = new Set(entries.filter((entry) => entry.isFile()).map((entry) => entry.name));
  const folders = entries.filter(
    (entry) => entry.isDirectory() && !entry.name.startsWith(".") && !passedOver.has(entry.name),
  );
  if (files.has("Chart.yaml")) return charts.includes(dir) ? [] : loneChart(root, dir, files);
  const chart = ["chart", "helm", "deploy/chart", "charts"].find((name) =>
    existsSync(join(dir, name, "Chart.yaml")),
  );
  const dockerfile = [...files].find((name) => name === "Dockerfile" || name === "Containerfile");
  const configured = files.has(fileName) && (await isService(dir));
  const found: Discovered[] = [];
  const isWorkspace = files.has(fileName) && !configured && dir !== root;
  if (
    !isWorkspace &&
    (chart !== undefined ||
      dockerfile !== undefined ||
      files.has("package.json") ||
      (configured && dir !== root))
  ) {
    found.push({
      name: await nameOf(dir, configured),
      path: relative(root, dir) || ".",
      node: files.has("package.json"),
      ...(await installOf(dir, files)),
      configured,
      ...(dockerfile === undefined ? {} : { dockerfile }),
      ...(chart === undefined ? {} : { chart: `./${chart}` }),
    });
  }
  if (depth >= maxDepth) return found;
  const claimed = chart === undefined ? charts : [...charts, join(dir, chart)];
  const below = await Promise.all(
    folders.map((folder) => walk(root, join(dir, folder.name), depth + 1, claimed)),
  );
  return [...found, ...below.flat()];
}

/** A chart without sources is a service too: what it installs is built elsewhere. */
async function loneChart(root: string, dir: string, files: Set<string>): Promise<Discovered[]> {
  const value: unknown = parse(await readFile(join(dir, "Chart.yaml"), "utf8"), { maxAliasCount: 10 });
  const { name, type } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  if (typeof name !== "string" || type === "library") return [];
  const path = relative(root, dir) || ".";
  return [{ name: toName(name), path, chart: ".", node: false, configured: files.has(fileName) }];
}

/** A file with services or stacks is a workspace's, whose services are found below it. */
async function isService(dir: string): Promise<boolean> {
  const value: unknown = parse(await readFile(join(dir, fileName), "utf8"), { maxAliasCount: 10 });
  return typeof value === "object" && value !== null && !("services" in value) && !("stacks" in value);
}

/** The folders in the root that are clones of their own. */
export async function repositories(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  return folders
    .map((entry) => entry.name)
    .filter((name) => existsSync(join(root, name, ".git")))
    .sort();
}

async function installOf(dir: string, files: Set<string>): Promise<Pick<Discovered, "install">> {
  if (files.has("package-lock.json")) return { install: "ci" };
  if (!files.has("package.json")) return {};
  const text = await readFile(join(dir, "package.json"), "utf8");
  const value: unknown = parse(text, { maxAliasCount: 10 });
  const needs = typeof value === "object" && value !== null && "dependencies" in value;
  return needs ? { install: "install" } : {};
}

async function nameOf(dir: string, configured: boolean): Promise<string> {
  if (configured) {
    const value: unknown = parse(await readFile(join(dir, fileName), "utf8"), { maxAliasCount: 10 });
    if (typeof value === "object" && value !== null && "name" in value && typeof value.name === "string")
      return value.name;
  }
  return toName(basename(dir));
}

/** The text of a service's kws.yaml. */
export function serviceYaml(service: Discovered): string {
  const lines = [`name: ${yamlString(service.name)}`];
  if (service.dockerfile !== undefined)
    lines.push("build:", `  dockerfile: ${yamlString(service.dockerfile)}`);
  else if (service.node) lines.push("build:", "  builder: node");
  if (service.dockerfile === undefined && service.install !== undefined)
    lines.push(`  prepare: [npm, ${service.install}, --omit=dev]`);
  lines.push(`chart: ${yamlString(service.chart ?? "./chart")}`);
  return `${lines.join("\n")}\n`;
}

/** The text of a workspace's kws.yaml with one stack of all services. */
export function workspaceYaml(name: string, services: Discovered[]): string {
  const own = yamlString(name);
  const entries = services.map(
    (service) => `  ${yamlString(service.name)}: { path: ${yamlString(`./${service.path}`)} }`,
  );
  return [`name: ${own}`, "services:", ...entries, "stacks:", `  ${own}: { profile: local }`, ""].join("\n");
}
