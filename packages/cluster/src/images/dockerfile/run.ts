/** RUN: the command in a sandbox over the stage's layers, and what it wrote as a new layer. */
import { execFile } from "node:child_process";
import { chmod, lstat, mkdir, readdir, readlink } from "node:fs/promises";
import type { Stats } from "node:fs";
import { join, posix } from "node:path";
import { promisify } from "node:util";
import type { Mount } from "../../kubelet/runtime.ts";
import type { LayerEntry } from "../layer.ts";
import { isWhiteout, locate, ownerOf } from "../rootfs.ts";

export interface SandboxRun {
  /** Unpacked layers, the lowest first. */
  layers: string[];
  /** An empty folder that receives what the command writes. */
  upperDir: string;
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  user: { uid: number; gid: number; additionalGids: number[] };
  network: "host" | "none";
  mounts: Mount[];
  onOutput: (chunk: Uint8Array) => void;
  signal?: AbortSignal;
  /** A folder for the overlay's work directory and the like, in the file system of `upperDir`. */
  tmpDir: string;
}

/** Runs a command in namespaces of its own over the layers; answers its exit code. */
export type RunInSandbox = (run: SandboxRun) => Promise<number>;

/** Mount points of the runtime: what a command finds there is not part of the image. */
const runtimePaths = new Set(["dev", "proc", "sys"]);
const runtimeFiles = new Set(["etc/resolv.conf", "etc/hosts", "etc/hostname", ".dockerenv"]);

/** Reads an overlay's upper directory as the entries of a layer. */
export async function captureUpper(upper: string, below: string[]): Promise<LayerEntry[]> {
  const entries: LayerEntry[] = [];
  const links = new Map<string, string>();
  const suspects: string[] = [];
  const visit = async (relative: string): Promise<void> => {
    for (const name of (await readdir(join(upper, relative))).toSorted()) {
      const path = posix.join(relative, name);
      const file = join(upper, path);
      const stats = await lstat(file);
      if (isWhiteout(stats)) {
        entries.push({ path, type: "whiteout" });
        continue;
      }
      if (runtimeFiles.has(path) && stats.isFile() && stats.size === 0) continue;
      const common = { path, mode: stats.mode & 0o7777, ...ownerOf(stats) };
      if (stats.isDirectory()) {
        if (runtimePaths.has(path)) continue;
        entries.push({ ...common, type: "directory" });
        await readable(file, stats, 0o700);
        if ((await locate(below, path, false))?.stats.isDirectory() === true) suspects.push(path);
        await visit(path);
      } else if (stats.isSymbolicLink()) {
        entries.push({ ...common, type: "symlink", target: await readlink(file) });
      } else if (stats.isFile()) {
        const inode = String(stats.ino);
        const first = stats.nlink > 1 ? links.get(inode) : undefined;
        if (first !== undefined) {
          entries.push({ ...common, type: "link", target: first });
          continue;
        }
        if (stats.nlink > 1) links.set(inode, path);
        await readable(file, stats, 0o400);
        entries.push({ ...common, type: "file", source: file });
      }
    }
  };
  await visit("");
  for (const path of await opaqueDirectories(upper, suspects)) {
    entries.push({ path, type: "opaque" });
  }
  return entries;
}

/** Root inside a user namespace reads what its modes forbid; outside we are only the owner, who may change the mode. */
async function readable(file: string, stats: Stats, bits: number): Promise<void> {
  if (process.getuid?.() !== 0 && (stats.mode & bits) !== bits) {
    await chmod(file, (stats.mode | bits) & 0o7777);
  }
}

/**
 * Directories that a command removed and made again: overlayfs marks them with an extended attribute, which Node cannot
 * read, so tar reads it. A tar without that ability (busybox) sees none.
 */
async function opaqueDirectories(upper: string, paths: string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const argv = [
    ["--create", "--file=-", "--format=pax", "--no-recursion", `--directory=${upper}`],
    ["--xattrs", "--xattrs-include=*.overlay.opaque", "--"],
  ].flat();
  const opaque: string[] = [];
  for (let at = 0; at < paths.length; at += 500) {
    const some = paths.slice(at, at + 500);
    const { stdout } = await promisify(execFile)("tar", [...argv, ...some], {
      encoding: "buffer",
      maxBuffer: 1 << 26,
    });
    opaque.push(...readOpaque(stdout, some));
  }
  return opaque;
}

function readOpaque(archive: Buffer, paths: string[]): string[] {
  const opaque: string[] = [];
  const rest = [...paths];
  let marked = false;
  for (let at = 0; at + 512 <= archive.length;) {
    const type = archive.toString("latin1", at + 156, at + 157);
    const size = Number.parseInt(archive.toString("latin1", at + 124, at + 135), 8) || 0;
    if (type === "x") {
      const body = archive.toString("latin1", at + 512, at + 512 + size);
      marked = /SCHILY\.xattr\.(?:trusted|user)\.overlay\.opaque=[yx]/.test(body);
    } else if (type === "5") {
      const path = rest.shift();
      if (marked && path !== undefined) opaque.push(path);
      marked = false;
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return opaque;
}

/** Folders for a run: one that receives the files, one for the runtime. */
export async function runFolders(base: string): Promise<{ upperDir: string; tmpDir: string }> {
  const upperDir = join(base, "upper");
  const tmpDir = join(base, "tmp");
  await mkdir(upperDir, { recursive: true, mode: 0o755 });
  await mkdir(tmpDir, { recursive: true, mode: 0o755 });
  return { upperDir, tmpDir };
}
