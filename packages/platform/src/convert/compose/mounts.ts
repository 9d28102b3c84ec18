/** What a pod's mounts are made of: its volumes by name, its claims, and where findings about them go. */
import { toName } from "../../project/workspace.ts";
import type { CarriedFiles } from "./files.ts";
import type { ComposeProject, ComposeService } from "./project.ts";
import { entries, flag, get, items, text, type Tree } from "./tree.ts";

export interface Mount {
  /** Of the pod's volume. */
  volume: string;
  mountPath: string;
  subPath?: string;
  readOnly?: true;
}

export interface Volumes {
  mounts: Mount[];
  /** Of the pod, by name; claims and the chart's own files are not among them. */
  volumes: Map<string, Record<string, unknown>>;
  /** Claims that are this service's alone, by name of the volume. */
  own: Set<string>;
  /** Claims that the chart makes for several services. */
  shared: Set<string>;
  files: CarriedFiles;
  /** Folders that are synchronised in a dev session: where they are, and where the container has them. */
  synced: { place: Tree; source: string; target: string }[];
  /** Folders below those that stay as the image has them. */
  kept: string[];
}

/** The name of the pod's volume of the chart's plain files, and that of the secret ones. */
export const filesVolume = "files";
export const secretFilesVolume = "secret-files";

/** The volumes of one service while they are being made. */
export interface State {
  project: ComposeProject;
  service: ComposeService;
  result: Volumes;
}

/** A name for one of the pod's volumes that is not in use. */
export function addVolume({ result }: State, wanted: string, volume: Record<string, unknown>): string {
  const base = toName(wanted.replaceAll(/[^a-zA-Z0-9]+/g, "-")) || "volume";
  let name = base;
  for (let count = 2; result.volumes.has(name) || [filesVolume, secretFilesVolume].includes(name); count++)
    name = `${base}-${count}`;
  result.volumes.set(name, volume);
  return name;
}

/** Reports a second mount at one place, and one that has no place. */
export function addMount({ result, project }: State, place: Tree, mount: Mount, readOnly = false): void {
  if (!mount.mountPath.startsWith("/")) {
    project.report(
      "error",
      place,
      `${JSON.stringify(mount.mountPath)} is left out: a mount's place in the container begins with a slash`,
    );
    return;
  }
  if (result.mounts.some(({ mountPath }) => mountPath === mount.mountPath)) {
    project.report("warning", place, `${mount.mountPath} is mounted already, and this is left out`);
    return;
  }
  result.mounts.push(readOnly ? { ...mount, readOnly: true } : mount);
}

/** A volume that outlives its pods. One that several services mount is a claim of its own. */
export function claim(
  state: State,
  mount: Tree,
  source: string,
  { target, readOnly, subPath }: { target: string; readOnly: boolean; subPath?: string | undefined },
): void {
  const { project, service, result } = state;
  const volume = toName(source.replaceAll(/[._]/g, "-"));
  const users = usersOf(project, mount);
  const [owner] = users;
  const isAlone = users.length <= 1 && !isGlobal(service.tree) && !service.isJob;
  if (isAlone) {
    result.own.add(volume);
  } else {
    if (owner === service.compose || owner === undefined) {
      result.shared.add(volume);
      if (users.length > 1) {
        project.report(
          "note",
          mount,
          `the volume ${source} is shared by ${users.join(", ")}: on a cluster of several nodes it needs a class that can do that; a new one is empty, where Docker copies what the image has there`,
          `Set storage.${volume}.accessModes and storage.${volume}.class in the values of ${service.name}.`,
        );
      }
    }
    result.volumes.set(volume, { persistentVolumeClaim: { claimName: volume } });
  }
  // Below the volume's root: a new file system may have a lost+found there, which databases refuse.
  addMount(
    state,
    mount,
    { volume, mountPath: target, subPath: subPath === undefined ? "data" : `data/${subPath}` },
    readOnly,
  );
}

/** The services that mount the same volume or folder; the first of them, which makes the claim, waits for no other one. */
function usersOf({ services }: ComposeProject, mount: Tree): string[] {
  const identity = (one: Tree) => [text(get(one, "type")) ?? "volume", text(get(one, "source"))].join(" ");
  const users = services
    .toSorted((a, b) => a.profiles.length - b.profiles.length)
    .filter(({ tree }) => items(get(tree, "volumes")).some((one) => identity(one) === identity(mount)))
    .map(({ compose }) => compose);
  const waits = (compose: string, seen = new Set<string>()): boolean => {
    if (seen.has(compose)) return false;
    seen.add(compose);
    const tree = services.find((one) => one.compose === compose)?.tree;
    return entries(get(tree, "depends_on")).some(([name]) => users.includes(name) || waits(name, seen));
  };
  return [...users.filter((name) => !waits(name)), ...users.filter((name) => waits(name))];
}

/** One pod on every node. */
export function isGlobal(tree: Tree): boolean {
  return text(get(tree, "deploy", "mode")) === "global";
}

/** The name of what is there already, for a volume, config or secret that says so; `external: { name }` is the old way. */
export function externalName(declared: Tree | undefined, name: string): string | undefined {
  const external = get(declared, "external");
  const isExternal = external?.kind === "map" || flag(external) === true;
  return isExternal ? (text(get(declared, "name")) ?? text(get(external, "name")) ?? name) : undefined;
}
