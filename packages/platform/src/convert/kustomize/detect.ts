/** The kustomizations below a folder, and which of them belong together: overlays that are built on the same base are one app. */
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { isMapping } from "../../charts/layers.ts";
import { toName } from "../../project/workspace.ts";
import { readYamlFile, type YamlFile } from "../../project/yaml-file.ts";

export interface Kustomization {
  /** Its folder, absolute. */
  dir: string;
  file: YamlFile;
  /** The folders that it is built on, absolute. */
  uses: string[];
  isComponent: boolean;
  /** What it puts before and after names. */
  prefix: string;
  suffix: string;
}

export interface App {
  name: string;
  /** What is built when nothing else is said; undefined where overlays share nothing that can be built alone. */
  base: Kustomization | undefined;
  /** By the profile's name. */
  overlays: Map<string, Kustomization>;
}

const names = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
const passedOver = new Set(["node_modules", "vendor", "dist", "testdata"]);
const maxDepth = 8;

export function isKustomization(dir: string): boolean {
  return names.some((name) => existsSync(join(dir, name)));
}

export async function findKustomizations(root: string, depth = 0): Promise<Kustomization[]> {
  const entries = await readdir(root, { withFileTypes: true });
  const name = names.find((one) => entries.some((entry) => entry.isFile() && entry.name === one));
  const own = name === undefined ? [] : [await read(root, name)];
  if (depth >= maxDepth) return own;
  const folders = entries.filter(
    (entry) => entry.isDirectory() && !entry.name.startsWith(".") && !passedOver.has(entry.name),
  );
  const below = await Promise.all(
    folders.map((folder) => findKustomizations(join(root, folder.name), depth + 1)),
  );
  return [...own, ...below.flat()].sort((a, b) => a.dir.localeCompare(b.dir));
}

async function read(dir: string, name: string): Promise<Kustomization> {
  const file = await readYamlFile(join(dir, name));
  const value = isMapping(file.value) ? file.value : {};
  const uses = ["resources", "bases", "components"]
    .flatMap((key) => (Array.isArray(value[key]) ? (value[key] as unknown[]) : []))
    .filter((one): one is string => typeof one === "string" && !/^[a-z]+:\/\/|^git@|^github\.com/.test(one))
    .map((one) => resolve(dir, one))
    .filter(isKustomization);
  const text = (key: string) => (typeof value[key] === "string" ? value[key] : "");
  return {
    dir,
    file,
    uses,
    isComponent: value["kind"] === "Component",
    prefix: text("namePrefix"),
    suffix: text("nameSuffix"),
  };
}

/** Overlays that share a base are one app; one that nothing is built on, and that is built on nothing, is an app by itself. */
export function groupApps(all: Kustomization[], root: string): App[] {
  const byDir = new Map(all.map((one) => [one.dir, one]));
  const used = new Set(all.flatMap(({ uses }) => uses));
  const tops = all.filter(({ dir, isComponent }) => !used.has(dir) && !isComponent);
  const groups: Kustomization[][] = [];
  for (const top of tops) {
    const below = closureOf(top, byDir);
    const group = groups.find((others) =>
      others.some((other) => closureOf(other, byDir).some((one) => below.includes(one))),
    );
    if (group === undefined) groups.push([top]);
    else group.push(top);
  }
  const apps = new Map<string, App>();
  for (const overlays of groups) {
    const app = appOf(overlays, byDir, root);
    let { name } = app;
    for (let count = 2; apps.has(name); count++) name = `${app.name}-${count}`;
    apps.set(name, { ...app, name });
  }
  return [...apps.values()];
}

/** What a kustomization is built on, at whatever distance, itself not among it. */
function closureOf(
  { uses }: Kustomization,
  byDir: Map<string, Kustomization>,
  seen = new Set<string>(),
): Kustomization[] {
  return uses.flatMap((dir) => {
    const one = byDir.get(dir);
    if (one === undefined || seen.has(dir)) return [];
    seen.add(dir);
    return [one, ...closureOf(one, byDir, seen)];
  });
}

function appOf(overlays: Kustomization[], byDir: Map<string, Kustomization>, root: string): App {
  const [first, ...others] = overlays;
  if (first === undefined) throw new Error("a group has one member at least");
  const shared = closureOf(first, byDir).filter(
    (one) => !one.isComponent && others.every((other) => closureOf(other, byDir).includes(one)),
  );
  // The nearest one: what it is built on itself is part of it.
  const base = shared.find(({ dir }) => !shared.some((other) => other.uses.includes(dir)));
  const isLone = others.length === 0 && base === undefined;
  const top = base === undefined ? first.dir : base.dir;
  const named =
    /^(base|bases|default|common|overlays?)$/.test(basename(top)) && top !== root ? dirname(top) : top;
  const profiles = new Map<string, Kustomization>();
  for (const overlay of isLone ? [] : overlays) {
    const short = toName(basename(overlay.dir));
    profiles.set(
      profiles.has(short) ? toName(relative(root, overlay.dir).replaceAll("/", "-")) : short,
      overlay,
    );
  }
  return { name: toName(basename(named)), base: isLone ? first : base, overlays: profiles };
}

/** What all that a kustomization is built on puts around names, from the outermost inwards. */
export function affixesOf(
  one: Kustomization,
  all: Kustomization[],
): { prefixes: string[]; suffixes: string[] } {
  const byDir = new Map(all.map((each) => [each.dir, each]));
  const chain = [one, ...closureOf(one, byDir)];
  return {
    prefixes: chain.map(({ prefix }) => prefix).filter((text) => text !== ""),
    suffixes: chain.map(({ suffix }) => suffix).filter((text) => text !== ""),
  };
}
