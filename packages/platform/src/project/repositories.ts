/** The git repositories that the services of a workspace come from, and the clones of them that are on this machine. */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { siblingClones, repositoryKey } from "./clones.ts";
import { clonesOf, entriesOf, gitPinOf, listedSources } from "./sources.ts";
import type { GitPin, Project } from "./workspace.ts";

export interface WorkspaceRepository {
  /** One spelling of its address, or the folder where it has none. */
  repository: string;
  /** The clone that people work in; undefined where there is none. */
  dir: string | undefined;
  /**
   * What its services are taken from: folders that kws.yaml names, links, clones beside the workspace, or the pins of kws.yaml,
   * whether a clone lies beside the workspace or not.
   */
  uses: "folder" | "link" | "clone" | "pin";
  services: { name: string; pin?: GitPin }[];
}

/** Nothing is cloned and no service's file is read. */
export async function listRepositories(project: Project): Promise<WorkspaceRepository[]> {
  const { links = {}, useClones } = project.local.settings;
  const found = new Map<string, WorkspaceRepository>();
  const roots = new Map<string, string | undefined>();
  const add = (
    one: Omit<WorkspaceRepository, "services">,
    service: WorkspaceRepository["services"][number],
  ) => {
    const key = `${one.uses} ${one.dir ?? one.repository}`;
    const known = found.get(key) ?? { ...one, services: [] };
    known.services.push(service);
    found.set(key, known);
  };
  const addFolder = (uses: "folder" | "link", dir: string, service: { name: string; pin?: GitPin }) => {
    const root = rootOf(dir, roots);
    const { pin } = service;
    const repository = pin === undefined ? root : repositoryKey(pin.url, project.root);
    if (root !== undefined) add({ repository: repository ?? root, dir: root, uses }, service);
  };
  const siblings = await siblingClones(project.root);
  for (const [name, entry] of entriesOf(project)) {
    const pin = gitPinOf(project, entry);
    const link = links[name];
    if (link !== undefined)
      addFolder("link", resolve(project.root, link), pin === undefined ? { name } : { name, pin });
    else if (pin !== undefined) {
      const [clone] = clonesOf(siblings, project, pin.url);
      const uses = useClones === true && clone !== undefined ? "clone" : "pin";
      add({ repository: repositoryKey(pin.url, project.root), dir: clone?.dir, uses }, { name, pin });
    } else if ("path" in entry && entry.path !== undefined)
      addFolder("folder", resolve(project.root, entry.path), { name });
  }
  const listed = Array.isArray(project.workspace.services) ? await listedSources(project) : [];
  for (const { dir } of listed) addFolder("folder", dir, { name: basename(dir) });
  return [...found.values()];
}

/** The nearest folder above that is a clone. */
function rootOf(dir: string, known: Map<string, string | undefined>): string | undefined {
  if (known.has(dir)) return known.get(dir);
  const parent = dirname(dir);
  const root = existsSync(join(dir, ".git")) ? dir : parent === dir ? undefined : rootOf(parent, known);
  known.set(dir, root);
  return root;
}
