/** Who changed which key of a service's configuration, and when: read from git, newest first. */
import { messageOf, UserError } from "@kws/base/errors";
import type { Decrypt } from "../charts/layers.ts";
import { type Commit, commitsOf, fileAt, type Repository } from "../project/repository.ts";
import { type Change, compare, comparePlaintexts } from "./changes.ts";

export interface Revision extends Commit {
  files: FileRevision[];
}

export interface FileRevision {
  /** Below the repository's root. */
  path: string;
  changes: Change[];
  /** Under a new data key: which encrypted values changed cannot be told, unless the file was opened. */
  reencrypted: boolean;
  /** Both versions were decrypted to find what changed. */
  opened?: true;
  /** Why the changes cannot be told: one of the two versions is not YAML. */
  problem?: string;
}

export interface HistoryOptions {
  /** Paths below the repository's root. */
  paths: string[];
  /** Only changes of this key and of those below it. */
  key?: string;
  /** At most so many revisions. */
  limit?: number;
  /** Opens versions under other data keys, to tell what changed between them. */
  decrypt?: Decrypt;
}

/** Commits that changed no key (comments, order) are left out. */
export async function configHistory(repository: Repository, options: HistoryOptions): Promise<Revision[]> {
  const revisions: Revision[] = [];
  for (const commit of await commitsOf(repository, options.paths)) {
    if (revisions.length === options.limit) break;
    const compared = await Promise.all(
      options.paths.map((path) => compareAt(repository, commit, path, options)),
    );
    const files = compared.filter((file) => file !== undefined);
    if (files.length > 0) revisions.push({ ...commit, files });
  }
  return revisions;
}

async function compareAt(
  repository: Repository,
  commit: Commit,
  path: string,
  { key, decrypt }: HistoryOptions,
): Promise<FileRevision | undefined> {
  const [before, after] = await Promise.all([
    commit.parent === undefined ? undefined : fileAt(repository, commit.parent, path),
    fileAt(repository, commit.id, path),
  ]);
  if (before === after) return undefined;
  try {
    const { changes, reencrypted } = compare(path, before, after);
    const exact =
      reencrypted && decrypt !== undefined ? await compareOpened(path, before, after, decrypt) : undefined;
    const known = new Set(changes.map((change) => change.key));
    const all = [...changes, ...(exact ?? []).filter((change) => !known.has(change.key))];
    const chosen = all.filter((change) => key === undefined || below(change.key, key));
    if (chosen.length === 0 && !(reencrypted && key === undefined)) return undefined;
    return { path, changes: chosen, reencrypted, ...(exact === undefined ? {} : { opened: true }) };
  } catch (error) {
    return { path, changes: [], reencrypted: false, problem: messageOf(error) };
  }
}

/** Undefined where one of the versions cannot be opened here. */
async function compareOpened(
  path: string,
  before: string | undefined,
  after: string | undefined,
  decrypt: Decrypt,
): Promise<Change[] | undefined> {
  const open = async (text: string | undefined) => (text === undefined ? {} : decrypt(path, text));
  try {
    return comparePlaintexts(await open(before), await open(after));
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}

function below(key: string, parent: string): boolean {
  return key === parent || key.startsWith(`${parent}.`) || key.startsWith(`${parent}[`);
}
