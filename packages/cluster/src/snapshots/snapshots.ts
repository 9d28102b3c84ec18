/** Keeping a cluster as it is, and bringing it back, into the same cluster or another one. */
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, UserError } from "@kws/base/errors";
import { ociArchitecture } from "@kws/oci/manifest";
import { askForSnapshot } from "../control.ts";
import { openImageStore, type LocalImageStore } from "../images/store.ts";
import { removeTree } from "../images/unpack.ts";
import { isHeld, readChoice } from "../kubelet/runtimes/choice.ts";
import {
  clusterFolder,
  clusterStatus,
  finishRestore,
  imagesFolder as storeFolder,
  lockCluster,
  startLocked,
  type ClusterInfo,
  type ClusterLocation,
  type StartOptions,
} from "../lifecycle.ts";
import {
  controlSocket,
  runtimeFile,
  runtimeFolder,
  stateFile,
  storageFile,
  volumesFolder,
} from "../state.ts";
import { openDatabase } from "../storage/database.ts";
import { checkArchiveName, readArchive, writeArchive } from "./archive.ts";
import { capture, type Captured } from "./capture.ts";
import { copyPaths, diskFull, settleOnDisk, sizeOnDisk } from "./files.ts";
import {
  dataFolders,
  imagesFolder,
  objectsFile,
  readRecord,
  recordFile,
  snapshotFolder,
  stagingFolder,
  type SnapshotRecord,
} from "./folder.ts";
import { bringBlobs, imageNames, keepImages } from "./images.ts";
import { fillDatabase } from "./objects.ts";
import { isPending, prepare, type ImageNames } from "./pending.ts";

export interface SnapshotOptions extends ClusterLocation {
  /** What it is to be called. */
  snapshot: string;
  /** A file to write it to as well. */
  archive?: string;
  /** False where the file is all that is wanted. */
  keep: boolean;
  /** Milliseconds since the epoch. */
  now: number;
  onProgress?: (message: string) => void;
  signal?: AbortSignal;
}

/** Where anything fails, or this process is killed, the cluster goes on and nothing is kept. */
export async function takeSnapshot(options: SnapshotOptions): Promise<SnapshotRecord> {
  const { name, home, archive, signal, onProgress } = options;
  if (archive !== undefined) checkArchiveName(archive);
  const place = snapshotFolder(home, options.snapshot);
  if (options.keep && existsSync(place)) throw taken(options.snapshot);
  await using staging = await stagingFolder(home);
  const folder = join(staging.path, "snapshot");
  try {
    const { images, version, ...captured } = await captureCluster(options, folder);
    for (const part of dataFolders) await mkdir(join(folder, part), { recursive: true });
    onProgress?.("keeping its images");
    const store = await openImageStore(storeFolder(home));
    const record: SnapshotRecord = {
      format: 1,
      name: options.snapshot,
      cluster: name,
      takenAt: new Date(options.now).toISOString(),
      version,
      architecture: ociArchitecture(process.arch),
      ...captured,
      volumeBytes: await sizeOnDisk(
        dataFolders.map((part) => join(folder, part)),
        signal,
      ),
      ...(await keepImages(store, images, imagesFolder(folder))),
    };
    await writeFile(recordFile(folder), `${JSON.stringify(record, undefined, 2)}\n`, { mode: 0o600 });
    if (archive !== undefined) {
      onProgress?.(`writing ${archive}`);
      await writeArchive(folder, archive, signal);
    }
    if (options.keep) {
      await settleOnDisk(folder);
      await rename(folder, place);
    }
    return record;
  } catch (error) {
    signal?.throwIfAborted();
    if (isErrno(error, "ENOTEMPTY", "EEXIST")) throw taken(options.snapshot);
    throw isErrno(error, "ENOSPC", "EDQUOT") ? diskFull(error) : error;
  }
}

function taken(snapshot: string): UserError {
  return new UserError(`there is a snapshot "${snapshot}" already`, {
    code: "conflict",
    fix: `Choose another name, or remove it: \`kws cluster snapshot remove ${snapshot}\`.`,
  });
}

async function captureCluster(
  options: SnapshotOptions,
  target: string,
): Promise<Captured & { version: string }> {
  const { name, signal, onProgress } = options;
  const folder = clusterFolder(options);
  if (!existsSync(stateFile(folder))) {
    throw new UserError(`there is no cluster "${name}"`, {
      code: "not-found",
      fix: "`kws cluster list` tells the clusters there are.",
    });
  }
  await using _lock = await lockCluster(options, signal);
  await finishRestore(options);
  const { state, version } = (await clusterStatus(options)) ?? { state: "stopped", version: "" };
  if (state === "running") {
    onProgress?.("its containers stand still");
    return { version, ...(await askForSnapshot(controlSocket(folder), target, signal)) };
  }
  if (await isHeld(await readChoice(runtimeFile(folder)), runtimeFolder(folder))) {
    throw new UserError(`the containers of the cluster "${name}" run without the cluster's process`, {
      code: "conflict",
      fix: `Start it, or stop it as a whole: \`kws cluster start ${name}\`.`,
    });
  }
  const database = openDatabase(storageFile(folder));
  try {
    const objects = { revision: database.revision, rows: database.rows() };
    return { version, ...(await capture(objects, folder, target, signal)), pausedMs: 0 };
  } finally {
    database.close();
  }
}

export interface RestoreOptions extends StartOptions {
  /** A snapshot of this home, or an archive. */
  from: { snapshot: string } | { archive: string };
  onProgress?: (message: string) => void;
}

export interface Restored {
  snapshot: SnapshotRecord;
  cluster: ClusterInfo;
  /** Names that stand for other images in the store, for all clusters, than they did before. */
  renamedImages: string[];
}

/**
 * Replaces all that the cluster holds, which is made where it is missing, and starts it. Its keys and its addresses on this
 * machine stay its own. Where anything fails, or this process is killed, the cluster stays as it was until what is to replace it
 * is on disk as a whole; from then on the next start ends what was begun.
 */
export async function restoreCluster(options: RestoreOptions): Promise<Restored> {
  const { home, from, signal, onProgress } = options;
  const target = clusterFolder(options);
  await using staging = await stagingFolder(home);
  const unpacked = "archive" in from;
  const source = unpacked ? staging.path : snapshotFolder(home, from.snapshot);
  if (unpacked) {
    onProgress?.(`reading ${from.archive}`);
    await readArchive(from.archive, source, signal);
  }
  const snapshot = await readSnapshot(source, unpacked ? from.archive : from.snapshot);
  const known = existsSync(target);
  await using _lock = await lockCluster(options, signal);
  try {
    await finishRestore(options);
    const store = await openImageStore(storeFolder(home));
    const names = await imageNames(imagesFolder(source));
    const renamedImages = await othersOf(store, names);
    onProgress?.("copying its data");
    await prepare(target, names, async ({ database, data }) => {
      const volumes = await namesIn(join(source, "volumes"));
      const place = { dir: volumesFolder(target), names: volumes };
      await fillDatabase(database, objectsFile(source), place);
      for (const part of dataFolders) {
        if (!existsSync(join(source, part))) continue;
        if (unpacked) await rename(join(source, part), join(data, part));
        else await copyPaths({ from: source, paths: [part], to: data }, signal);
      }
      await bringBlobs(imagesFolder(source), store);
      signal?.throwIfAborted();
    });
    onProgress?.("starting it");
    // From here on nothing is given up, as it could not be taken back.
    const { signal: _, ...start } = options;
    return { snapshot, cluster: await startLocked(start), renamedImages };
  } catch (error) {
    if (!known && !isPending(target) && !existsSync(storageFile(target))) await removeTree(target);
    throw isErrno(error, "ENOSPC", "EDQUOT") ? diskFull(error) : error;
  }
}

async function readSnapshot(folder: string, name: string): Promise<SnapshotRecord> {
  const here = ociArchitecture(process.arch);
  try {
    const record = await readRecord(folder);
    if (record.architecture === here) return record;
    throw new UserError(`the snapshot's images are for ${record.architecture}, and this machine is ${here}`, {
      code: "conflict",
      fix: "Restore it on a machine like the one that it was taken on.",
    });
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    throw new UserError(`there is no snapshot "${name}"`, {
      code: "not-found",
      fix: "`kws cluster snapshot list` tells the snapshots there are.",
      cause: error,
    });
  }
}

async function namesIn(folder: string): Promise<ReadonlySet<string>> {
  return new Set(existsSync(folder) ? await readdir(folder) : []);
}

async function othersOf(store: LocalImageStore, names: ImageNames): Promise<string[]> {
  const others: string[] = [];
  for (const { name, digest } of names) {
    const now = name === undefined ? undefined : await store.inspect(name);
    if (name !== undefined && now !== undefined && now.named !== digest) others.push(name);
  }
  return others;
}
