/** Where the services of a workspace are: folders, pins in git, clones and links that stand in for them, and packages. */
import { existsSync } from "node:fs";
import { glob } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import { type Clone, repositoryKey, siblingClones } from "./clones.ts";
import { checkout, checkoutFolder, type GitOptions } from "./git.ts";
import type { Workspace } from "./schema.ts";
import { fileName, type GitPin, inside, type Origin, type PackagePin, type Project } from "./workspace.ts";

export interface SourceOptions extends Omit<GitOptions, "at"> {
  /**
   * What is done for services that live in git: their pins are cloned (`make`, which is the default), taken where they have been
   * cloned (`use`), or left alone (`ignore`). Without its source a service is a package alone.
   */
  clones?: "make" | "use" | "ignore";
}

/** A service's folder. */
export interface Source {
  /** The name it was given, where it was. */
  key?: string;
  dir: string;
  root?: string;
  at: string;
  pin?: PackagePin;
  tags?: string[] | undefined;
  origin?: Origin;
}

/** What a mapping of services says of one. */
export type Entry = Exclude<NonNullable<Workspace["services"]>, unknown[]>[string];

/** Empty for a workspace whose services are a list. */
export function entriesOf({ workspace }: Project): Map<string, Entry> {
  const { services = {} } = workspace;
  return new Map(Array.isArray(services) ? [] : Object.entries(services));
}

export function packagePinOf({ file }: Project, name: string, { chart, version }: Entry): PackagePin {
  const keys = ["services", name];
  if (chart !== undefined && !/^(oci|https?):\/\/[^/]+\/.*[^/]$/.test(chart)) {
    throw new UserError(`the chart ${chart} is not an address of a chart`, {
      code: "config",
      at: file.at([...keys, "chart"]),
      fix: "Write it as oci://host/path/name, or as https://host/path/name.",
    });
  }
  return { chart, version, at: file.at(version === undefined ? keys : [...keys, "version"]) };
}

/** Paths of this machine are meant from the workspace, wherever kws is called. */
export function gitPinOf({ root }: Project, entry: Entry): GitPin | undefined {
  if (!("git" in entry)) return undefined;
  return { url: /^\.\.?\//.test(entry.git) ? resolve(root, entry.git) : entry.git, ref: entry.ref };
}

/** The clones beside the workspace that are of the repository. */
export function clonesOf(clones: Clone[], { root }: Project, url: string): Clone[] {
  const key = repositoryKey(url, root);
  return clones.filter(({ repositories }) => repositories.includes(key));
}

const clonesAtATime = 6;

/** Finds a service's folder; undefined where it is there as a package alone. */
export type FindSource = (name: string, entry: Entry) => Promise<Source | undefined>;

/** Siblings are looked at once, and a repository is cloned once for all services that are pinned to the same ref of it. */
export function sourceFinder(project: Project, options: SourceOptions): FindSource {
  const { file, local, root } = project;
  const { links = {}, useClones } = local.settings;
  const limit = limiter(clonesAtATime);
  const failed = new AbortController();
  const signals = [failed.signal, ...(options.signal === undefined ? [] : [options.signal])];
  const signal = AbortSignal.any(signals);
  const checkouts = new Map<string, Promise<string>>();
  let siblings: Promise<Clone[]> | undefined;

  const checkoutOf = (pin: GitPin, at: string): Promise<string> => {
    const key = JSON.stringify(pin);
    const begun =
      checkouts.get(key) ??
      limit(() => checkout(pin.url, pin.ref, { ...options, signal, at })).catch((error: unknown) => {
        // Nobody waits for the other repositories any more.
        failed.abort(error);
        throw error;
      });
    checkouts.set(key, begun);
    return begun;
  };
  const cloneOf = async (name: string, pin: GitPin, at: string): Promise<string | undefined> => {
    if (useClones !== true) return undefined;
    const [only, ...more] = clonesOf(await (siblings ??= siblingClones(root)), project, pin.url);
    if (only === undefined || more.length === 0) return only?.dir;
    throw new UserError(
      `${name} has several clones beside the workspace: ${[only, ...more].map(({ dir }) => dir).join(", ")}`,
      { code: "config", at, fix: `Say which one: kws link ${name} ${only.dir}` },
    );
  };
  const mayCheckOut = ({ url, ref }: GitPin): boolean => {
    const { clones = "make" } = options;
    return clones === "make" || (clones === "use" && existsSync(checkoutFolder(url, ref, options)));
  };
  return async (key, entry) => {
    const at = file.at(["services", key], true);
    const given = { key, tags: entry.tags, pin: packagePinOf(project, key, entry) };
    const pin = gitPinOf(project, entry);
    const pinned = pin === undefined ? {} : { pin };
    const link = links[key];
    if (link !== undefined) {
      const place = local.file.at(["links", key]);
      return { ...given, dir: resolve(root, link), at: place, origin: { how: "link", ...pinned } };
    }
    if (pin !== undefined && "git" in entry) {
      const clone = await cloneOf(key, pin, at);
      if (clone === undefined && !mayCheckOut(pin)) return undefined;
      const top = clone ?? (await checkoutOf(pin, at));
      const path = entry.path ?? ".";
      const place = file.at(["services", key, "path"]);
      const dir = await inside(top, path, place);
      await inside(top, join(path, fileName), place);
      return { ...given, dir, at, origin: { how: clone === undefined ? "pin" : "clone", pin } };
    }
    if (!("path" in entry) || entry.path === undefined) return undefined;
    const wider = "root" in entry && entry.root !== undefined ? { root: resolve(root, entry.root) } : {};
    return { ...given, ...wider, dir: resolve(root, entry.path), at: file.at(["services", key, "path"]) };
  };
}

/** The folders that a list of services names, patterns expanded. */
export async function listedSources(project: Project): Promise<Source[]> {
  const { services } = project.workspace;
  const patterns = Array.isArray(services) ? services : [];
  return (await Promise.all(patterns.map((pattern, index) => expand(project, pattern, index)))).flat();
}

/** The folders of one pattern of a list, by its place there. */
export async function expand(project: Project, pattern: string, index: number): Promise<Source[]> {
  const at = project.file.at(["services", index]);
  if (!/[*?[{]/.test(pattern)) return [{ dir: resolve(project.root, pattern), at }];
  const found: Source[] = [];
  for await (const match of glob(`${pattern.replace(/\/+$/, "")}/${fileName}`, {
    cwd: project.root,
    exclude: (name) => name.includes("node_modules"),
  })) {
    found.push({ dir: dirname(join(project.root, match)), at });
  }
  if (found.length > 0) return found.sort((a, b) => a.dir.localeCompare(b.dir));
  throw new UserError(`no folder that matches ${pattern} holds a ${fileName}`, {
    code: "config",
    at,
    fix: "Correct the pattern, or run `kws init` in the service's folder.",
  });
}
