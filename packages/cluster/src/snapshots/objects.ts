/** A cluster's objects in a snapshot: a line of JSON with the revision, then one for each object. */
import { createReadStream, existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { openDatabase, type ObjectRow, type ObjectRows } from "../storage/database.ts";

/** What the rest of a snapshot has to hold, by what the objects say. */
export interface Contents {
  objects: number;
  /** As pods and templates of pods name them. */
  images: Set<string>;
  /** Folders of emptyDirs that are on disk, as `<uid>/volumes/<name>`. */
  emptyDirs: string[];
}

export async function writeObjects(path: string, { revision, rows }: ObjectRows): Promise<Contents> {
  const contents: Contents = { objects: 0, images: new Set(), emptyDirs: [] };
  const file = await open(path, "wx", 0o600);
  try {
    let text = `${JSON.stringify({ revision })}\n`;
    for (const { resource, key, revision: at, value } of rows) {
      contents.objects += 1;
      const object = JSON.parse(value) as KubeObject;
      collectImages(object, contents.images);
      if (resource === "pods") contents.emptyDirs.push(...emptyDirsOf(object));
      text += `${JSON.stringify({ resource, key, revision: at, value })}\n`;
      if (text.length < 1 << 20) continue;
      await file.write(text);
      text = "";
    }
    await file.write(text);
  } finally {
    await file.close();
  }
  return contents;
}

function emptyDirsOf({ metadata, spec }: KubeObject): string[] {
  const volumes = (spec?.volumes ?? []) as { name: string; emptyDir?: { medium?: string } }[];
  return volumes
    .filter(({ emptyDir }) => emptyDir !== undefined && emptyDir.medium !== "Memory")
    .map(({ name }) => join(metadata.uid ?? "", "volumes", name));
}

/** Every `image` of every list of containers, wherever a kind has its template of a pod. */
function collectImages(value: unknown, found: Set<string>): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (Array.isArray(inner) && ["containers", "initContainers", "ephemeralContainers"].includes(key)) {
      for (const container of inner as ({ image?: unknown } | null)[]) {
        if (typeof container?.image === "string") found.add(container.image);
      }
    } else collectImages(inner, found);
  }
}

/**
 * Fills a new database with the objects of a snapshot. Volumes that the snapshot has data of are below `volumesDir` from now on.
 * Throws `config` where the file is not what a snapshot holds.
 */
export async function fillDatabase(
  path: string,
  objects: string,
  volumes: { dir: string; names: ReadonlySet<string> },
): Promise<void> {
  const database = openDatabase(path);
  try {
    const lines = createInterface({ input: createReadStream(objects), crlfDelay: Number.POSITIVE_INFINITY });
    let number = 0;
    let revision = 0;
    let batch: ObjectRow[] = [];
    for await (const line of lines) {
      number += 1;
      if (number === 1) revision = readRevision(line, objects);
      else batch.push(restored(readRow(line, revision, `${objects}:${number}`), volumes));
      if (batch.length < 500) continue;
      database.commit(batch, revision);
      batch = [];
    }
    if (number === 0) throw unsound(`${objects}:1`, "it is empty");
    database.commit(batch, revision);
  } finally {
    database.close();
  }
}

function readRevision(line: string, path: string): number {
  const revision = (parse(line) as { revision?: unknown } | undefined)?.revision;
  if (Number.isSafeInteger(revision) && Number(revision) > 0) return Number(revision);
  throw unsound(`${path}:1`, "it names no revision");
}

function readRow(line: string, newest: number, at: string): ObjectRow {
  const row = parse(line) as Partial<ObjectRow> | undefined;
  const { resource, key, revision, value } = row ?? {};
  if (typeof resource !== "string" || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(resource))
    throw unsound(at, "it names no resource");
  if (!Number.isSafeInteger(revision) || Number(revision) < 1 || Number(revision) > newest)
    throw unsound(at, "its revision is not of this snapshot");
  const object = typeof value === "string" ? (parse(value) as Partial<KubeObject> | undefined) : undefined;
  const { name, namespace } = object?.metadata ?? {};
  if (typeof name !== "string" || typeof value !== "string" || typeof object?.kind !== "string")
    throw unsound(at, "it holds no object");
  if (key !== (namespace === undefined ? name : `${namespace}/${name}`))
    throw unsound(at, "its key is not the object's name");
  return { resource, key, revision: Number(revision), value };
}

function parse(text: string): unknown {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined; // The caller says what it should have been.
  }
}

function unsound(at: string, why: string): UserError {
  return new UserError(`the snapshot's objects cannot be read: ${why}`, {
    code: "config",
    at,
    fix: "Take the snapshot again.",
  });
}

/** A volume that a cluster has made is a folder of that cluster, and no pod is ready that has yet to start. */
function restored(row: ObjectRow, { dir, names }: { dir: string; names: ReadonlySet<string> }): ObjectRow {
  const { resource, key, value } = row;
  if (resource !== "pods" && resource !== "persistentvolumes") return row;
  const object = JSON.parse(value) as KubeObject;
  if (resource === "pods") {
    for (const condition of (object.status?.conditions ?? []) as { type: string; status: string }[]) {
      if (["Ready", "ContainersReady"].includes(condition.type)) condition.status = "False";
    }
    for (const container of (object.status?.containerStatuses ?? []) as { ready: boolean }[])
      container.ready = false;
  } else if (object.spec?.hostPath !== undefined && names.has(key)) {
    object.spec.hostPath.path = join(dir, key);
  }
  return { ...row, value: JSON.stringify(object) };
}

/**
 * Raises the revision above that of the database that this one replaces, so that whoever watches from a revision of that one
 * is told to list anew, as after a restore of etcd.
 */
export function goBeyond(path: string, replaced: string): void {
  const before = revisionOf(replaced);
  const database = openDatabase(path);
  try {
    database.commit([], Math.max(database.revision, before ?? 0) + 1);
  } finally {
    database.close();
  }
}

/** Undefined where it cannot be read: a restore is also for what is broken. */
function revisionOf(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const database = openDatabase(path);
    database.close();
    return database.revision;
  } catch {
    return undefined;
  }
}
