/**
 * What a snapshot is on disk: a folder with a description (`snapshot.json`), the objects (`objects.jsonl`), the data of volumes
 * (`volumes/<volume>`, `pods/<uid>/volumes/<volume>`) and the images that the objects name (`images/`, an OCI layout). A
 * snapshot that is being made has a name of another kind until it is whole. The keys of a cluster are in none.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { identify, isAlive } from "@kws/base/process";
import { removeTree } from "../images/unpack.ts";

export interface SnapshotRecord {
  /** The version of this format. */
  format: 1;
  name: string;
  /** The cluster that it was taken of. */
  cluster: string;
  /** RFC 3339. */
  takenAt: string;
  /** Kubernetes version of the cluster. */
  version: string;
  /** Of the images, in Go's names: `amd64`. */
  architecture: string;
  objects: number;
  /** Folders of data: persistent volumes, and pods' emptyDirs. */
  volumes: number;
  /** On disk. */
  volumeBytes: number;
  images: number;
  /** They take no more room as long as the image store has them too. */
  imageBytes: number;
  /** For how long the containers stood still, in milliseconds; 0 where the cluster did not run. */
  pausedMs: number;
}

export const recordFile = (folder: string): string => join(folder, "snapshot.json");
export const objectsFile = (folder: string): string => join(folder, "objects.jsonl");
export const imagesFolder = (folder: string): string => join(folder, "images");

/** Of these, the first is of persistent volumes, the second of pods. */
export const dataFolders = ["volumes", "pods"] as const;

export const snapshotsFolder = (home: string): string => join(home, "snapshots");

export function snapshotFolder(home: string, name: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name) || ["list", "remove"].includes(name)) {
    throw new UserError(`"${name}" cannot be the name of a snapshot`, {
      code: "usage",
      fix: "Use up to 63 lower case letters, digits and hyphens, and neither list nor remove.",
    });
  }
  return join(snapshotsFolder(home), name);
}

/** Newest first. */
export async function listSnapshots(home: string): Promise<SnapshotRecord[]> {
  const names = await readdir(snapshotsFolder(home)).catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  });
  const records = await Promise.all(
    names.filter((name) => !name.startsWith(".")).map((name) => findSnapshot(home, name)),
  );
  return records
    .filter((record) => record !== undefined)
    .toSorted((a, b) => (a.takenAt < b.takenAt ? 1 : -1));
}

export async function findSnapshot(home: string, name: string): Promise<SnapshotRecord | undefined> {
  const folder = snapshotFolder(home, name);
  try {
    // Its name is the folder's, also where somebody has renamed that.
    return { ...(await readRecord(folder)), name };
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Throws where it is none that this version reads; ENOENT as it is. */
export async function readRecord(folder: string): Promise<SnapshotRecord> {
  const path = recordFile(folder);
  const text = await readFile(path, "utf8");
  try {
    const record = JSON.parse(text) as Partial<SnapshotRecord> | null;
    if (record?.format !== 1) throw new Error(`its format is ${String(record?.format)}, and 1 is known`);
    for (const [key, type] of Object.entries(shape)) {
      if (typeof record[key as keyof SnapshotRecord] !== type) throw new Error(`its ${key} is no ${type}`);
    }
    return record as SnapshotRecord;
  } catch (error) {
    throw new UserError(`${path} does not describe a snapshot: ${messageOf(error)}`, {
      code: "config",
      fix: "Take another snapshot, or use the version of kws that has written this one.",
      cause: error,
    });
  }
}

const shape: Record<keyof SnapshotRecord, "string" | "number"> = {
  format: "number",
  name: "string",
  cluster: "string",
  takenAt: "string",
  version: "string",
  architecture: "string",
  objects: "number",
  volumes: "number",
  volumeBytes: "number",
  images: "number",
  imageBytes: "number",
  pausedMs: "number",
};

/** True where there was one, also where its description cannot be read. */
export async function removeSnapshot(home: string, name: string): Promise<boolean> {
  if (!existsSync(snapshotFolder(home, name))) return false;
  // At once no longer a snapshot, however long the rest takes.
  await using staging = await stagingFolder(home);
  await rename(snapshotFolder(home, name), join(staging.path, "removed"));
  return true;
}

export interface StagingFolder extends AsyncDisposable {
  path: string;
}

/** A folder beside the snapshots for one that is not whole; those of processes that were killed are removed. */
export async function stagingFolder(home: string): Promise<StagingFolder> {
  const parent = snapshotsFolder(home);
  await makeFolder(parent, { mode: 0o700, fix: "Set KWS_HOME to a folder that can be made." });
  for (const name of await readdir(parent)) {
    const [, pid, startTicks] = /^\.(\d+)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || isAlive({ pid: Number(pid), startTicks: Number(startTicks) })) continue;
    await removeTree(join(parent, name));
  }
  const me = identify(process.pid);
  const path = join(parent, `.${process.pid}-${me?.startTicks ?? 0}-${randomUUID()}`);
  await mkdir(path, { mode: 0o700 });
  return { path, [Symbol.asyncDispose]: () => removeTree(path) };
}
