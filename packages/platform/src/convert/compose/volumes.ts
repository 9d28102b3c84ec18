/** What a service mounts: claims, memory, files that its chart carries, and sources that a dev session synchronises. */
import { bind } from "./binds.ts";
import { memory } from "./container.ts";
import { noFiles } from "./files.ts";
import { granted } from "./grants.ts";
import { addMount, addVolume, claim, externalName, type State, type Volumes } from "./mounts.ts";
import type { ComposeProject, ComposeService } from "./project.ts";
import { flag, get, items, text, type Tree } from "./tree.ts";

export async function volumesOf(project: ComposeProject, service: ComposeService): Promise<Volumes> {
  const { tree } = service;
  const result: Volumes = {
    mounts: [],
    volumes: new Map(),
    own: new Set(),
    shared: new Set(),
    files: noFiles(),
    synced: [],
    kept: [],
  };
  const state: State = { project, service, result };
  const mounts = items(get(tree, "volumes"));
  for (const mount of mounts.filter((one) => text(get(one, "type")) === "bind")) await bind(state, mount);
  for (const mount of mounts) {
    const type = text(get(mount, "type")) ?? "volume";
    if (type === "volume") named(state, mount);
    else if (type === "tmpfs")
      inMemory(state, mount, text(get(mount, "target")) ?? "", memory(get(mount, "tmpfs", "size")));
    else if (type === "image") ofImage(state, mount);
    else if (type !== "bind")
      project.report("error", mount, `a volume of type ${type} is left out: Kubernetes has no counterpart`);
  }
  for (const one of items(get(tree, "tmpfs"))) {
    const [target = "", options = ""] = (text(one) ?? "").split(":");
    const size = /(?:^|,)size=(\d+[kmg]?)/i.exec(options)?.[1];
    inMemory(
      state,
      one,
      target,
      size === undefined ? undefined : size.toUpperCase().replace(/[KMG]$/, "$&i"),
    );
  }
  const shm = get(tree, "shm_size");
  if (shm !== undefined) inMemory(state, shm, "/dev/shm", memory(shm));
  await granted(state, "configs");
  await granted(state, "secrets");
  return result;
}

function inMemory(state: State, place: Tree, target: string, sizeLimit: string | undefined): void {
  const medium = { medium: "Memory", ...(sizeLimit === undefined || sizeLimit === "0" ? {} : { sizeLimit }) };
  addMount(state, place, {
    volume: addVolume(state, `tmp-${target}`, { emptyDir: medium }),
    mountPath: target,
  });
}

function ofImage(state: State, mount: Tree): void {
  const volume = addVolume(state, "image", {
    image: { reference: text(get(mount, "source")) ?? "", pullPolicy: "IfNotPresent" },
  });
  const subPath = text(get(mount, "image", "subpath"));
  const target = text(get(mount, "target")) ?? "";
  addMount(state, mount, { volume, mountPath: target, ...(subPath === undefined ? {} : { subPath }) }, true);
}

function named(state: State, mount: Tree): void {
  const { project, result } = state;
  const source = text(get(mount, "source"));
  const target = (text(get(mount, "target")) ?? "").replace(/(.)\/+$/, "$1");
  const readOnly = flag(get(mount, "read_only")) === true;
  const subpath = text(get(mount, "volume", "subpath"));
  if (source === undefined) {
    anonymous(state, mount, target);
    return;
  }
  // What an image installed is seeded into a new volume by Docker; an empty claim would hide it.
  if (/\/(node_modules|vendor|\.venv|venv|site-packages|target|\.next|__pycache__)$/.test(target)) {
    result.kept.push(target);
    project.report("note", mount, `${target} has no volume: it stays as the image has it`);
    return;
  }
  const declared = get(project.model.tree, "volumes", source);
  const claimName = externalName(declared, source);
  if (claimName !== undefined) {
    project.report("note", mount, `the claim ${claimName} has to exist in the namespace`);
    const volume = addVolume(state, source, { persistentVolumeClaim: { claimName } });
    addMount(
      state,
      mount,
      { volume, mountPath: target, ...(subpath === undefined ? {} : { subPath: subpath }) },
      readOnly,
    );
    return;
  }
  claim(state, mount, source, { target, readOnly, subPath: subpath });
}

/**
 * A volume without a name begins with what the image has there, and ends with its container: what the container's own file
 * system does, unless that is read-only.
 */
function anonymous(state: State, mount: Tree, target: string): void {
  const { project, result, service } = state;
  if (flag(get(service.tree, "read_only")) === true) {
    project.report("note", mount, `${target} is empty at first, and ends with its pod`);
    addMount(state, mount, { volume: addVolume(state, target, { emptyDir: {} }), mountPath: target });
    return;
  }
  result.kept.push(target);
  project.report(
    "note",
    mount,
    `${target} has no volume: it stays as the image has it, and ends with its pod`,
  );
}
