/** Mounts of this machine's files and folders, which a cluster does not have: what becomes of each depends on what it is for. */
import { isAbsolute, join, relative, sep } from "node:path";
import { dockerfileOf } from "./dockerfile.ts";
import { carry, type Found, isSecretFile, look } from "./files.ts";
import { addMount, addVolume, claim, filesVolume, secretFilesVolume, type State } from "./mounts.ts";
import { type ComposeProject, withNewNames } from "./project.ts";
import { flag, get, text, type Tree } from "./tree.ts";

/** A file or folder of this machine. */
export async function bind(state: State, mount: Tree): Promise<void> {
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
  if (isFull(found) && (await isBuiltFrom(service.tree, { source, target, found }))) {
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

/** Whether a path is a folder or below it. */
export function isWithin(path: string, root: string): boolean {
  const way = relative(root, path);
  return way === "" || (!isAbsolute(way) && way !== ".." && !way.startsWith(`..${sep}`));
}

function isFull(found: Found): boolean {
  return found.kind === "file" || (found.kind === "folder" && !found.isEmpty);
}

/** Whether the image has it at that place, or most probably so: it lies in the build's context, and goes where the program is. */
async function isBuiltFrom(
  service: Tree,
  { source, target, found }: { source: string; target: string; found: Found },
): Promise<boolean> {
  const context = text(get(service, "build", "context"));
  if (context === undefined || !isAbsolute(context) || isData(target)) return false;
  if (isWithin(context, source)) return true;
  const workdir = text(get(service, "working_dir")) ?? (await dockerfileOf(service)).workdir;
  // Where nothing says where the program is, a folder is taken for its sources, and a single file for configuration.
  const there = workdir === undefined ? found.kind === "folder" : isWithin(target, workdir);
  return isWithin(source, context) && there;
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
