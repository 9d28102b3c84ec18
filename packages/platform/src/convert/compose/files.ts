/** Files that a chart carries for its pods: plain ones in a ConfigMap, others in a Secret. Both hold less than a megabyte. */
import { isUtf8 } from "node:buffer";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { isErrno } from "@kws/base/errors";
import type { Tree } from "./tree.ts";

/** Kubernetes refuses ConfigMaps and Secrets of more than 1 MiB; keys and base64 need some of it. */
const maxTotal = 700 * 1024;
const maxFiles = 200;

export interface CarriedFiles {
  /** By key of the ConfigMap. */
  plain: Map<string, Uint8Array>;
  /** By key of the Secret, with the place that each comes from. */
  secret: Map<string, { content: Uint8Array; place: Tree }>;
  size: number;
  /** One of them is a program. */
  executable: boolean;
}

export function noFiles(): CarriedFiles {
  return { plain: new Map(), secret: new Map(), size: 0, executable: false };
}

/** Adds one and answers its key; undefined where there is no room. The same content under the same name is one file. */
export function carry(
  files: CarriedFiles,
  name: string,
  content: Uint8Array,
  secret?: Tree,
): string | undefined {
  const clean =
    name
      .replaceAll(/[^-._a-zA-Z0-9]+/g, "_")
      .replaceAll(/^_+|_+$/g, "")
      .slice(-200) || "file";
  const inUse = (key: string): Uint8Array | undefined =>
    files.plain.get(key) ?? files.secret.get(key)?.content;
  let key = clean;
  for (let count = 2; ; count++) {
    const before = inUse(key);
    if (
      before !== undefined &&
      Buffer.from(before).equals(content) &&
      files.secret.has(key) === (secret !== undefined)
    )
      return key;
    if (before === undefined) break;
    key = `${count}-${clean}`;
  }
  if (files.size + content.length > maxTotal) return undefined;
  files.size += content.length;
  if (secret === undefined) files.plain.set(key, content);
  else files.secret.set(key, { content, place: secret });
  return key;
}

export type Found =
  | { kind: "missing" }
  | { kind: "file"; content: Uint8Array; executable: boolean }
  /** Contents by path below the folder; undefined where they are too many, or too much. */
  | { kind: "folder"; files: Map<string, Uint8Array> | undefined; isEmpty: boolean }
  /** A socket or a device. */
  | { kind: "other" }
  | { kind: "big"; size: number };

export async function look(path: string): Promise<Found> {
  try {
    const info = await stat(path);
    if (info.isFile()) {
      if (info.size > maxTotal) return { kind: "big", size: info.size };
      return { kind: "file", content: await readFile(path), executable: (info.mode & 0o111) !== 0 };
    }
    if (!info.isDirectory()) return { kind: "other" };
    const files = await readFolder(path);
    return { kind: "folder", files, isEmpty: files?.size === 0 };
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return { kind: "missing" };
    if (isErrno(error, "EACCES", "EPERM")) return { kind: "other" };
    throw error;
  }
}

async function readFolder(root: string): Promise<Map<string, Uint8Array> | undefined> {
  const found = new Map<string, Uint8Array>();
  let size = 0;
  const queue = [root];
  for (let dir = queue.pop(); dir !== undefined; dir = queue.pop()) {
    const inside = await readdir(dir, { withFileTypes: true });
    for (const entry of inside.sort((a, b) => a.name.localeCompare(b.name))) {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) {
        queue.push(path);
      } else if (entry.isFile() && entry.name !== ".gitkeep" && entry.name !== ".DS_Store") {
        size += (await stat(path)).size;
        if (size > maxTotal || found.size === maxFiles) return undefined;
        found.set(relative(root, path), await readFile(path));
      } else if (!entry.isFile()) {
        return undefined;
      }
    }
  }
  return found;
}

export function isText(content: Uint8Array): boolean {
  return isUtf8(content) && !content.includes(0);
}

/** Files that hold keys or passwords, by their names or what they begin with. */
export function isSecretFile(path: string, content: Uint8Array): boolean {
  const name = basename(path).toLowerCase();
  if (
    /\.(key|p12|pfx|jks|keystore|kdbx)$|^\.?(htpasswd|pgpass|netrc|git-credentials)$|^id_(rsa|ed25519|ecdsa)$|^\.env(\.|$)|secret|password/.test(
      name,
    )
  )
    return !/\.(pub|example|sample|md)$/.test(name);
  return Buffer.from(content.subarray(0, 4096)).toString("latin1").includes("PRIVATE KEY-----");
}
