/**
 * The last step of a restore: what was prepared in a cluster's folder takes the place of what is there. It begins with a rename,
 * and from then on every start finishes it, so that a cluster has its old state or its new one, whatever is killed when.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openImageStore } from "../images/store.ts";
import { removeTree } from "../images/unpack.ts";
import { apiServerFolder, runtimeFolder, storageFile } from "../state.ts";
import { settleOnDisk } from "./files.ts";
import { dataFolders } from "./folder.ts";
import { goBeyond } from "./objects.ts";

const prepared = (folder: string): string => join(folder, "restored");
const preparing = (folder: string): string => join(folder, "restored.part");
const databaseIn = (state: string): string => join(state, "storage.db");
const namesIn = (state: string): string => join(state, "images.json");

/** What images are called: a digest may have one name more, or need one entry to be kept. */
export type ImageNames = { digest: string; name?: string }[];

/** The state that a cluster is to get. */
export interface Preparation {
  /** The database to be filled. */
  database: string;
  /** The folder that `volumes` and `pods` go to, where there are any. */
  data: string;
}

/** Runs the work on an empty state; where it throws, nothing has changed. */
export async function prepare(
  folder: string,
  names: ImageNames,
  work: (state: Preparation) => Promise<void>,
): Promise<void> {
  const state = preparing(folder);
  await removeTree(state);
  try {
    await mkdir(state, { mode: 0o700 });
    await writeFile(namesIn(state), JSON.stringify(names));
    await work({ database: databaseIn(state), data: state });
    for (const name of dataFolders) await mkdir(join(state, name), { recursive: true });
    await settleOnDisk(state);
    await rename(state, prepared(folder));
  } catch (error) {
    await removeTree(state);
    throw error;
  }
}

export function isPending(folder: string): boolean {
  return existsSync(prepared(folder));
}

/** Puts the prepared state in its place. Nothing of the cluster may run. */
export async function putInPlace(folder: string, images: string): Promise<void> {
  const state = prepared(folder);
  const store = await openImageStore(images);
  const names = JSON.parse(await readFile(namesIn(state), "utf8")) as ImageNames;
  for (const { digest, name } of names) await store.tag(digest, name === undefined ? [] : [name]);

  const place = storageFile(folder);
  if (existsSync(databaseIn(state))) {
    await mkdir(apiServerFolder(folder), { recursive: true, mode: 0o700 });
    goBeyond(databaseIn(state), place);
    for (const part of ["", "-wal", "-shm"]) await rm(`${place}${part}`, { force: true });
    await rename(databaseIn(state), place);
  }
  for (const name of dataFolders) {
    // One that is no longer there is in its place already.
    if (!existsSync(join(state, name))) continue;
    await removeTree(join(folder, name));
    await rename(join(state, name), join(folder, name));
  }
  // Containers of the state that was replaced, and the addresses of its pods.
  await removeTree(runtimeFolder(folder));
  await rename(state, preparing(folder));
  await removeTree(preparing(folder));
}
