/** What a service mounts: claims, memory, files that its chart carries, and sources that a dev session synchronises. */
import { isAbsolute, join, relative, sep } from "node:path";
import { toName } from "../../project/workspace.ts";
import { dockerfileOf } from "./dockerfile.ts";
import { carry, type CarriedFiles, type Found, isSecretFile, look, noFiles } from "./files.ts";
import { memory } from "./container.ts";
import { type ComposeProject, type ComposeService, withNewNames } from "./project.ts";
import { entries, flag, get, items, number, text, type Tree } from "./tree.ts";

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

interface State {
  project: ComposeProject;
  service: ComposeService;
  result: Volumes;
}

/** A name for one of the pod's volumes that is not in use. */
function addVolume({ result }: State, wanted: string, volume: Record<string, unknown>): string {
  const base = toName(wanted.replaceAll(/[^a-zA-Z0-9]+/g, "-")) || "volume";
  let name = base;
  for (let count = 2; result.volumes.has(name) || [filesVolume, secretFilesVolume].includes(name); count++)
    name = `${base}-${count}`;
  result.volumes.set(name, volume);
  return name;
}

function addMount({ result, project }: State, place: Tree, mount: Mount, readOnly = false): void {
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
  const isExternal = flag(externalOf(declared)) === true;
  if (isExternal) {
    const claimName = text(get(declared, "name")) ?? source;
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

/** `external: { name }` is the old way to say both. */
function externalOf(declared: Tree | undefined): Tree | undefined {
  const external = get(declared, "external");
  return external?.kind === "map" ? undefined : external;
}

function claim(
  state: State,
  mount: Tree,
  source: string,
  { target, readOnly, subPath }: { target: string; readOnly: boolean; subPath?: string | undefined },
): void {
  const { project, service, result } = state;
  const volume = toName(source.replaceAll(/[._]/g, "-"));
  const users = usersOf(project, source);
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

/** The services that mount a volume by its name; the first of them that waits for no other one makes its claim. */
function usersOf({ services }: ComposeProject, source: string): string[] {
  const users = services.filter(({ tree }) =>
    items(get(tree, "volumes")).some(
      (mount) => (text(get(mount, "type")) ?? "volume") === "volume" && text(get(mount, "source")) === source,
    ),
  );
  const waits = (compose: string, others: string[], seen = new Set<string>()): boolean => {
    if (seen.has(compose)) return false;
    seen.add(compose);
    const tree = services.find((one) => one.compose === compose)?.tree;
    return entries(get(tree, "depends_on")).some(
      ([name]) => others.includes(name) || waits(name, others, seen),
    );
  };
  const names = users.map(({ compose }) => compose);
  return [
    ...names.filter(
      (name) =>
        !waits(
          name,
          names.filter((other) => other !== name),
        ),
    ),
    ...names.filter((name) =>
      waits(
        name,
        names.filter((other) => other !== name),
      ),
    ),
  ];
}

export function isGlobal(tree: Tree): boolean {
  return text(get(tree, "deploy", "mode")) === "global";
}

/** A file or folder of this machine. */
async function bind(state: State, mount: Tree): Promise<void> {
  const { project, service, result } = state;
  const { report } = project;
  const source = text(get(mount, "source")) ?? "";
  const target = (text(get(mount, "target")) ?? "").replace(/(.)\/+$/, "$1");
  const readOnly = flag(get(mount, "read_only")) === true;
  if (source.endsWith("docker.sock") || target.endsWith("docker.sock")) {
    report(
      "error",
      mount,
      "the socket of Docker is left out: a cluster has none",
      "Take this service out of the stack, or give it a ServiceAccount and rights at the Kubernetes API.",
    );
    return;
  }
  if (!isOfProject(project, source)) {
    report(
      "warning",
      mount,
      `${source} is that of the node that the pod runs on`,
      "Take it out of the chart if the pod does not need it.",
    );
    const volume = addVolume(state, `host-${source}`, { hostPath: { path: source } });
    addMount(state, mount, { volume, mountPath: target }, readOnly);
    return;
  }
  const found = await look(source);
  if (isFull(found) && (await isBuiltFrom(service.tree, source, target))) {
    result.synced.push({ place: mount, source, target });
    report(
      "note",
      mount,
      `${relative(project.model.dir, source) || "."} is what the image is built from: it is synchronised in a dev session (dev.rules), and not mounted otherwise`,
    );
    return;
  }
  if (found.kind === "file") carryFile(state, mount, { source, target, readOnly }, found);
  else if (found.kind === "folder" && found.files !== undefined && !found.isEmpty && !isData(target))
    carryFolder(state, mount, { source, target, readOnly }, found.files);
  else becomeClaim(state, mount, { source, target, readOnly }, found);
}

function isOfProject({ model }: ComposeProject, source: string): boolean {
  // A level above is a neighbour's folder, as in ../shared.
  return isWithin(source, model.dir) || isWithin(source, join(model.dir, ".."));
}

export function isWithin(path: string, root: string): boolean {
  const way = relative(root, path);
  return way === "" || (!isAbsolute(way) && way !== ".." && !way.startsWith(`..${sep}`));
}

function isFull(found: Found): boolean {
  return found.kind === "file" || (found.kind === "folder" && !found.isEmpty);
}

/** Whether the image has it at that place, or most probably so: it lies in the build's context, and goes where the program is. */
async function isBuiltFrom(service: Tree, source: string, target: string): Promise<boolean> {
  const context = text(get(service, "build", "context"));
  if (context === undefined || !isAbsolute(context) || isData(target)) return false;
  if (isWithin(context, source)) return true;
  const workdir = text(get(service, "working_dir")) ?? (await dockerfileOf(service)).workdir;
  return isWithin(source, context) && (workdir === undefined || isWithin(target, workdir));
}

/** Where programs keep what they write. */
function isData(target: string): boolean {
  return (
    /^\/(var\/(lib|log|opt|cache|spool)|data|pgdata|bitnami)(\/|$)|\/(data|db|uploads?|storage|backups?|logs?|cache|tmp)$/.test(
      target,
    ) && !/\/(conf|config|html|www|etc)(\/|$|\.)/.test(target)
  );
}

interface Bound {
  source: string;
  target: string;
  readOnly: boolean;
}

function carryFile(
  state: State,
  mount: Tree,
  bound: Bound,
  { content, executable }: Extract<Found, { kind: "file" }>,
): void {
  const key = carryOne(state, mount, bound.source, content);
  if (key === undefined) {
    state.project.report(
      "error",
      mount,
      `${bound.source} is left out: the files of a pod may have less than a megabyte together`,
      "Put it into the image.",
    );
    return;
  }
  state.result.files.executable ||= executable;
  const volume = state.result.files.secret.has(key) ? secretFilesVolume : filesVolume;
  addMount(state, mount, { volume, mountPath: bound.target, subPath: key }, true);
  if (!bound.readOnly) noteReadOnly(state, mount, bound.target);
}

function noteReadOnly({ project }: State, mount: Tree, target: string): void {
  project.report("note", mount, `${target} comes from the chart, and can only be read`);
}

/** Text gets the names that services have now. */
function carryOne(
  { project, result }: State,
  mount: Tree,
  source: string,
  content: Uint8Array,
): string | undefined {
  const secret = isSecretFile(source, content) ? mount : undefined;
  const before = Buffer.from(content);
  const after = Buffer.from(withNewNames(project, before.toString("latin1")), "latin1");
  if (!after.equals(before))
    project.report(
      "note",
      mount,
      `${source} addresses services by the names that they have now, in the chart's copy`,
    );
  return carry(result.files, source.split(sep).at(-1) ?? "file", after, secret);
}

function carryFolder(
  state: State,
  mount: Tree,
  { source, target, readOnly }: Bound,
  files: Map<string, Uint8Array>,
): void {
  const { project, result } = state;
  const sources: Record<string, { key: string; path: string }[]> = { configMap: [], secret: [] };
  for (const [path, content] of files) {
    const key = carryOne(state, mount, join(source, path), content);
    if (key === undefined) {
      project.report(
        "error",
        mount,
        `${join(source, path)} is left out: the files of a pod may have less than a megabyte together`,
        "Put the folder into the image.",
      );
      continue;
    }
    sources[result.files.secret.has(key) ? "secret" : "configMap"]?.push({
      key,
      path: path.replaceAll(sep, "/"),
    });
  }
  const volume = addVolume(state, `folder-${source.split(sep).at(-1) ?? ""}`, { files: sources });
  addMount(state, mount, { volume, mountPath: target }, true);
  if (!readOnly) noteReadOnly(state, mount, target);
}

/** What is written to, what is not there yet, and what is too much for a chart. */
function becomeClaim(state: State, mount: Tree, { source, target, readOnly }: Bound, found: Found): void {
  const { report } = state.project;
  const name = relative(state.project.model.dir, source);
  if (
    found.kind === "other" ||
    found.kind === "big" ||
    (found.kind === "missing" && /\.\w{2,5}$/.test(source))
  ) {
    const why =
      found.kind === "missing"
        ? "it does not exist"
        : found.kind === "big"
          ? "the files of a pod may have less than a megabyte together"
          : "it is no file that can be read";
    report(
      "error",
      mount,
      `${source} is left out: ${why}`,
      found.kind === "missing" ? "Make it and convert again." : "Put it into the image.",
    );
    return;
  }
  const isLost = found.kind === "folder" && !found.isEmpty;
  report(
    isLost ? "warning" : "note",
    mount,
    isLost
      ? `${name} becomes a claim, which is empty at first: what the folder holds is not carried over`
      : `${name} becomes a claim`,
    ...(isLost ? ["Copy it into the pod with `kubectl cp`, or put it into the image."] : []),
  );
  claim(state, mount, name.replaceAll("..", ""), { target, readOnly });
}

/** The configs and secrets that the service was granted: files at their targets. */
async function granted(state: State, kind: "configs" | "secrets"): Promise<void> {
  const { project, service, result } = state;
  for (const grant of items(get(service.tree, kind))) {
    const source = text(get(grant, "source")) ?? "";
    const declared = get(project.model.tree, kind, source);
    const given = text(get(grant, "target"));
    const fallback = kind === "configs" ? `/${source}` : `/run/secrets/${source}`;
    const mountPath =
      given === undefined
        ? fallback
        : given.startsWith("/")
          ? given
          : kind === "configs"
            ? `/${given}`
            : `/run/secrets/${given}`;
    const mode = modeOf(get(grant, "mode"));
    if (mode !== undefined && (mode & 0o111) !== 0) result.files.executable = true;
    if (declared === undefined) {
      project.report(
        "error",
        grant,
        `there is no ${kind === "configs" ? "config" : "secret"} "${source}"`,
        `Add it under ${kind}.`,
      );
      continue;
    }
    if (flag(externalOf(declared)) === true || get(declared, "external")?.kind === "map") {
      const name = text(get(declared, "name")) ?? text(get(declared, "external", "name")) ?? source;
      const object = toName(name);
      const spec = kind === "configs" ? { configMap: { name: object } } : { secret: { secretName: object } };
      project.report(
        "warning",
        grant,
        `the ${kind === "configs" ? "ConfigMap" : "Secret"} ${object} with the key ${source} has to exist in the namespace`,
        `Make it: kubectl create ${kind === "configs" ? "configmap" : "secret generic"} ${object} --from-file=${source}=FILE`,
      );
      addMount(state, grant, { volume: addVolume(state, source, spec), mountPath, subPath: source }, true);
      continue;
    }
    const content = await contentOf(project, declared);
    if (content === undefined) continue;
    const key = carry(result.files, source, content, kind === "secrets" ? declared : undefined);
    if (key === undefined) {
      project.report(
        "error",
        grant,
        `${source} is left out: the files of a pod may have less than a megabyte together`,
      );
      continue;
    }
    const volume = kind === "secrets" ? secretFilesVolume : filesVolume;
    addMount(state, grant, { volume, mountPath, subPath: key }, true);
  }
}

async function contentOf({ model, report }: ComposeProject, declared: Tree): Promise<Uint8Array | undefined> {
  const inline = get(declared, "content");
  const variable = text(get(declared, "environment"));
  const file = text(get(declared, "file"));
  if (inline !== undefined) return Buffer.from(text(inline) ?? "");
  if (variable !== undefined) {
    const value = model.variables(variable);
    if (value === undefined)
      report(
        "error",
        declared,
        `the variable ${variable} is not set, and what it holds is missing`,
        "Set it and convert again.",
      );
    return value === undefined ? undefined : Buffer.from(value);
  }
  const found = file === undefined ? undefined : await look(file);
  if (found?.kind === "file") return found.content;
  report(
    "error",
    declared,
    `${file ?? "it"} cannot be read, and what it holds is missing`,
    "Make the file and convert again.",
  );
  return undefined;
}

/** `0440`, `"0440"` and `0o440` are octal; YAML 1.2 reads the first as a decimal number. */
function modeOf(tree: Tree | undefined): number | undefined {
  const given = text(tree);
  if (given === undefined) return undefined;
  const digits = given.replace(/^0o/, "");
  return /^[0-7]{3,4}$/.test(digits) ? Number.parseInt(digits, 8) : number(tree);
}
