/** Takes what a snapshot holds of one cluster's folder. Nothing may write there meanwhile. */
import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import type { ObjectRows } from "../storage/database.ts";
import { copyPaths } from "./files.ts";
import { objectsFile } from "./folder.ts";
import { writeObjects } from "./objects.ts";

/** What was taken, and what is still to be taken of images, which never change. */
export interface Captured {
  objects: number;
  /** Folders of data. */
  volumes: number;
  /** As pods name them. */
  images: string[];
  /** For how long the containers stood still. */
  pausedMs: number;
}

/** Fills the new folder `target` with the objects and with the data of volumes, without that of memory and of other folders. */
export async function capture(
  objects: ObjectRows,
  cluster: string,
  target: string,
  signal?: AbortSignal,
): Promise<Omit<Captured, "pausedMs">> {
  await mkdir(target, { mode: 0o700 });
  const contents = await writeObjects(objectsFile(target), objects);
  const persistent = await readdir(join(cluster, "volumes")).catch(whereMissing);
  const paths = [
    ...persistent.map((name) => join("volumes", name)),
    ...contents.emptyDirs.map((path) => join("pods", path)).filter((path) => existsSync(join(cluster, path))),
  ];
  await copyPaths({ from: cluster, paths, to: target }, signal);
  return { objects: contents.objects, volumes: paths.length, images: [...contents.images] };
}

/** No volume has been made yet. */
function whereMissing(error: unknown): string[] {
  if (isErrno(error, "ENOENT")) return [];
  throw error;
}
