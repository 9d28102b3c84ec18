/**
 * The production dependencies of a Node package as they are installed on this machine, and where each goes in an image so
 * that Node's resolution (https://nodejs.org/api/modules.html#loading-from-node_modules-folders) finds the same ones there.
 */
import { readFile, realpath } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { UserError, isErrno } from "@kws/base/errors";

export interface PlacedPackage {
  name: string;
  /** Real path of the folder on this machine. */
  source: string;
  /** Folder below the application's. */
  path: string;
  /** A package of the same workspace, not installed from a registry. */
  workspace: boolean;
  /** The symbolic link through which it is found, where it does not lie in `node_modules`. */
  link: { path: string; target: string } | undefined;
}

interface PackageManifest {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}

/** A folder in the image that may have a `node_modules`. */
interface Place {
  source: string;
  path: string;
  parent: Place | undefined;
  /** Packages in its `node_modules`, by name. */
  modules: Map<string, Place>;
}

/**
 * Every package that the folder's package needs, nearest first: at the top where nothing else has the name, below the
 * one that needs it otherwise. Throws a `UserError` with code `config` for one that is not installed.
 */
export async function dependencyClosure(dir: string): Promise<PlacedPackage[]> {
  const root: Place = { source: await realpath(dir), path: "", parent: undefined, modules: new Map() };
  const placed: PlacedPackage[] = [];
  const queue: Place[] = [root];
  for (let place = queue.shift(); place !== undefined; place = queue.shift()) {
    for (const { name, optional } of await dependenciesOf(place.source)) {
      const source = await resolvePackage(name, place.source);
      if (source === undefined) {
        if (optional) continue;
        throw new UserError(`the dependency "${name}" is not installed`, {
          code: "config",
          at: join(place.source, "package.json"),
          fix: "run npm install, then build again",
        });
      }
      const visible = lookUp(place, name);
      if (visible?.source === source) continue;
      const owner = visible === undefined ? root : place;
      const next = placePackage(owner, root, name, source);
      placed.push(next.found);
      owner.modules.set(name, next.place);
      queue.push(next.place);
    }
  }
  return placed;
}

function placePackage(owner: Place, root: Place, name: string, source: string) {
  const slot = join(owner.path, "node_modules", name);
  const workspace = !source.split("/").includes("node_modules");
  // Node strips types only outside of node_modules, where a workspace's packages lie while they are developed.
  const path = workspace && owner === root ? join("workspaces", name) : slot;
  const link = path === slot ? undefined : { path: slot, target: relative(dirname(slot), path) };
  const place: Place = {
    source,
    path,
    parent: path === slot ? owner : root,
    modules: new Map(),
  };
  return { place, found: { name, source, path, workspace, link } };
}

/** What Node would find under the name from the place in the image. */
function lookUp(from: Place, name: string): Place | undefined {
  for (let place: Place | undefined = from; place !== undefined; place = place.parent) {
    const found = place.modules.get(name);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function dependenciesOf(source: string): Promise<{ name: string; optional: boolean }[]> {
  const text = await readFile(join(source, "package.json"), "utf8");
  const manifest = JSON.parse(text) as PackageManifest;
  const found = new Map<string, boolean>();
  // One that is absent is between npm and the package; Node would not find it here either.
  for (const name of Object.keys(manifest.peerDependencies ?? {})) {
    found.set(name, true);
  }
  for (const name of Object.keys(manifest.dependencies ?? {})) found.set(name, false);
  for (const name of Object.keys(manifest.optionalDependencies ?? {})) found.set(name, true);
  return [...found]
    .map(([name, optional]) => ({ name, optional }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The installed package's real folder, as Node finds it from the folder. */
async function resolvePackage(name: string, from: string): Promise<string | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    if (!folder.endsWith("/node_modules")) {
      try {
        const candidate = join(folder, "node_modules", name);
        await readFile(join(candidate, "package.json"));
        return await realpath(candidate);
      } catch (error) {
        if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
      }
    }
    if (folder === dirname(folder)) return undefined;
  }
}
