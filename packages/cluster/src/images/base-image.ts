/**
 * `kws.local/node:<major>`: a base image put together from this machine, so that one without a registry can build and
 * run. It holds the Node that runs kws, npm where the machine has it, a shell, core utilities, what is useful to look
 * around, and the shared libraries that all of these need. Equal files give an equal digest.
 */
import { execFile } from "node:child_process";
import { lstat, readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { promisify } from "node:util";
import { UserError, isErrno } from "@kws/base/errors";
import { sha256 } from "@kws/oci/descriptor";
import type { ImageConfig } from "@kws/oci/manifest";
import type { LayerEntry } from "./layer.ts";
import type { Layer } from "@kws/oci/manifest";
import type { LocalImageStore } from "./store.ts";

export const baseImageName = "kws.local/node";

export interface HostNode {
  /** The Node executable, `process.execPath`. */
  path: string;
  /** Its version without a `v`, `process.versions.node`. */
  version: string;
}

/** What somebody who debugs or builds in a container expects; those that the machine lacks are left out. */
const tools = [
  ..."sh bash dash cat cp mv rm mkdir rmdir chmod chown chgrp ln ls pwd echo printf true false test [ expr seq".split(
    " ",
  ),
  ..."env printenv id whoami groups sleep timeout head tail wc sort uniq cut tr tee paste join comm nl od".split(
    " ",
  ),
  ..."date dirname basename readlink realpath stat touch truncate mktemp mkfifo install sync split shuf".split(
    " ",
  ),
  ..."du df uname nproc nohup nice yes md5sum sha1sum sha256sum sha512sum base64 dd tty stty".split(" "),
  ..."grep egrep fgrep sed awk mawk gawk find xargs tar gzip gunzip zcat diff cmp".split(" "),
  ..."ps kill pgrep pkill top free uptime hostname getent which more less ip ss ping nc wget curl".split(" "),
  ..."mount umount setpriv setsid nsenter unshare flock".split(" "),
];

const searchPath = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/**
 * What ldd does not show: name service modules that libc loads by name, and the libraries that became part of libc in
 * glibc 2.34, which programs linked before then still ask for.
 */
const libcCompanions = [
  ..."libnss_files.so.2 libnss_dns.so.2 libresolv.so.2".split(" "),
  ..."libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1 libgcc_s.so.1 libstdc++.so.6".split(" "),
];
const certificateFiles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"];

const files: Record<string, string> = {
  "etc/passwd": [
    "root:x:0:0:root:/root:/bin/sh",
    "node:x:1000:1000:node:/home/node:/bin/sh",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    "",
  ].join("\n"),
  "etc/group": "root:x:0:\ntty:x:5:\nnode:x:1000:\nnogroup:x:65534:\n",
  "etc/nsswitch.conf":
    "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\nprotocols: files\n",
  "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
  "etc/os-release":
    'ID=kws\nNAME="kws base image"\nPRETTY_NAME="kws base image, assembled from this machine"\n',
};

/** The reference of the base image for a Node version. */
export function baseImageReference(version: string): string {
  return `${baseImageName}:${version.split(".")[0]}`;
}

/** What the base image for a Node version says to its containers. */
export function baseImageConfig(version: string): ImageConfig {
  return {
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", `NODE_VERSION=${version}`],
    Cmd: ["node"],
    WorkingDir: "/",
  };
}

/**
 * The base image for this Node, assembled where the machine's files changed since it was last. Throws a `UserError` with
 * code `tool-missing` where the machine has no shell or no `ldd`.
 */
export async function ensureBaseImage(
  store: LocalImageStore,
  node: HostNode,
): Promise<{ reference: string; digest: string; cached: boolean }> {
  const reference = baseImageReference(node.version);
  const nodeReal = await realpath(node.path);
  const found = await findTools();
  const npm = await findNpm(nodeReal);
  const inputs = [nodeReal, ...found, ...(npm === undefined ? [] : [join(npm, "package.json")])];
  const key = `base 3 ${node.version} ${await statKey(inputs)}`;
  const known = await store.recall(key);
  if (typeof known === "string" && (await complete(store, known))) {
    const current = await store.inspect(reference);
    if (current?.digest !== known) await store.tag(known, [reference]);
    return { reference, digest: known, cached: true };
  }
  const parts: Record<string, Promise<Layer>> = {
    system: assembleSystem(nodeReal, found).then((entries) => store.addLayer(entries)),
    node: store.addLayer([
      { path: "usr/local/bin/node", type: "file", mode: 0o755, source: nodeReal },
      { path: "usr/local/bin/nodejs", type: "symlink", target: "node" },
    ]),
    ...(npm === undefined ? {} : { npm: npmEntries(npm).then((entries) => store.addLayer(entries)) }),
  };
  const layers = await Promise.all(Object.values(parts));
  const { digest } = await store.addImage({
    config: baseImageConfig(node.version),
    layers,
    history: Object.keys(parts).map((part) => ({
      created: "1970-01-01T00:00:00Z",
      created_by: `kws base image: ${part}`,
    })),
    references: [reference],
  });
  await store.remember(key, digest);
  return { reference, digest, cached: false };
}

async function complete(store: LocalImageStore, digest: string): Promise<boolean> {
  const stored = await store.inspect(digest);
  if (stored === undefined) return false;
  const there = await Promise.all(stored.layers.map((layer) => store.blobs.has(layer.descriptor.digest)));
  return there.every(Boolean);
}

/** Size, time and identity of the files: what changes when a package manager replaces one. */
async function statKey(paths: string[]): Promise<string> {
  const lines = await Promise.all(
    paths.map(async (path) => {
      const { size, mtimeMs, ino } = await stat(path);
      return `${path} ${size} ${mtimeMs} ${ino}`;
    }),
  );
  return sha256(lines.join("\n"));
}

async function findTools(): Promise<string[]> {
  const found: string[] = [];
  for (const tool of tools) {
    for (const folder of searchPath) {
      const path = join(folder, tool);
      if (await isExecutableFile(path)) {
        found.push(path);
        break;
      }
    }
  }
  if (!found.some((path) => path.endsWith("/sh"))) {
    throw new UserError("this machine has no /bin/sh to put into a base image", {
      code: "tool-missing",
      fix: "install a shell, such as dash",
    });
  }
  return found;
}

async function isExecutableFile(path: string): Promise<boolean> {
  try {
    const stats = await stat(path);
    return stats.isFile() && (stats.mode & 0o111) !== 0;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES", "ELOOP")) return false;
    throw error;
  }
}

/** The npm beside the Node, or the machine's own; its folder. */
async function findNpm(nodeReal: string): Promise<string | undefined> {
  const roots = [dirname(dirname(nodeReal)), "/usr/local", "/usr"];
  for (const root of roots) {
    for (const path of ["lib/node_modules/npm", "share/nodejs/npm"]) {
      if (await isExecutableFile(join(root, path, "bin/npm-cli.js"))) return realpath(join(root, path));
    }
  }
  return undefined;
}

async function npmEntries(npm: string): Promise<LayerEntry[]> {
  const root = "usr/local/lib/node_modules/npm";
  const entries: LayerEntry[] = [
    { path: "usr/local/bin/npm", type: "symlink", target: "../lib/node_modules/npm/bin/npm-cli.js" },
    { path: "usr/local/bin/npx", type: "symlink", target: "../lib/node_modules/npm/bin/npx-cli.js" },
  ];
  for (const entry of await readdir(npm, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name);
    const relative = posix.relative(npm, file);
    if (/^(?:docs|man)(?:\/|$)/.test(relative)) continue;
    const path = `${root}/${relative}`;
    if (entry.isDirectory()) entries.push({ path, type: "directory" });
    else if (entry.isSymbolicLink()) {
      entries.push({ path, type: "symlink", target: await readlink(file) });
    } else if (entry.isFile()) {
      const executable = relative.startsWith("bin/");
      entries.push({ path, type: "file", mode: executable ? 0o755 : 0o644, source: file });
    }
  }
  return entries;
}

async function assembleSystem(nodeReal: string, found: string[]): Promise<LayerEntry[]> {
  const entries = new Map<string, LayerEntry>();
  const add = (entry: LayerEntry) => entries.set(entry.path, entry);
  const directories =
    "bin sbin lib etc usr usr/bin usr/sbin usr/lib usr/local usr/local/bin dev proc sys run var var/tmp var/log home opt srv mnt";
  for (const path of directories.split(" ")) add({ path, type: "directory" });
  for (const path of ["tmp", "var/tmp"]) add({ path, type: "directory", mode: 0o1777 });
  add({ path: "root", type: "directory", mode: 0o700 });
  add({ path: "home/node", type: "directory", uid: 1000, gid: 1000 });
  // The machine's own arrangement (/bin is a link to usr/bin, or not) keeps every path that ldd prints valid.
  for (const name of ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]) {
    const target = await linkTarget(`/${name}`);
    if (target !== undefined) {
      add({ path: name, type: "symlink", target });
      add({ path: posix.join(target).replace(/^\//, ""), type: "directory" });
    }
  }
  const addFile = async (path: string): Promise<string> => {
    const place = join(await realpath(dirname(path)), posix.basename(path));
    const real = await realpath(path);
    if (place !== real) add({ path: place.slice(1), type: "symlink", target: real });
    const mode = (await stat(real)).mode & 0o755;
    add({ path: real.slice(1), type: "file", mode, source: real });
    return real;
  };
  const binaries: string[] = [nodeReal];
  for (const tool of found) {
    const real = await addFile(tool);
    const head = await firstBytes(real);
    if (head.equals(Buffer.from("\x7fELF"))) binaries.push(real);
  }
  const libraries = await sharedLibraries([...new Set(binaries)]);
  for (const library of libraries) await addFile(library);
  for (const folder of new Set(libraries.map((library) => dirname(library)))) {
    for (const name of libcCompanions) {
      if (await isFile(join(folder, name))) await addFile(join(folder, name));
    }
  }
  for (const [path, source] of Object.entries(files)) {
    add({ path, type: "file", source: Buffer.from(source) });
  }
  for (const path of certificateFiles) {
    if (!(await isFile(path))) continue;
    const source = await readFile(path);
    add({ path: "etc/ssl/certs/ca-certificates.crt", type: "file", source });
    add({ path: "etc/ssl/cert.pem", type: "symlink", target: "certs/ca-certificates.crt" });
    break;
  }
  return [...entries.values()];
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return false;
    throw error;
  }
}

async function firstBytes(path: string): Promise<Buffer> {
  const { open } = await import("node:fs/promises");
  const file = await open(path);
  try {
    return (await file.read(Buffer.alloc(4), 0, 4, 0)).buffer;
  } finally {
    await file.close();
  }
}

/** The libraries and the dynamic loader that the executables need, as ldd finds them on this machine. */
async function sharedLibraries(executables: string[]): Promise<string[]> {
  const output = await runLdd(executables);
  const libraries = new Set<string>();
  for (const line of output.split("\n")) {
    // "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)" or "/lib64/ld-linux-x86-64.so.2 (0x…)"
    const path = /(?:=>\s*|^\s+)(\/\S+)\s+\(0x[0-9a-f]+\)/.exec(line)?.[1];
    if (path !== undefined) libraries.add(path);
  }
  return [...libraries].toSorted();
}

async function runLdd(executables: string[]): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)("ldd", executables, { maxBuffer: 1 << 24 });
    return stdout;
  } catch (error) {
    // One static executable among many makes ldd exit with 1; what it printed of the others counts.
    if (error instanceof Error && "stdout" in error && String(error.stdout).includes("=>")) {
      return String(error.stdout);
    }
    throw new UserError("the shared libraries for a base image could not be listed with ldd", {
      code: "tool-missing",
      fix: "install ldd, which comes with the C library",
      cause: error,
    });
  }
}
