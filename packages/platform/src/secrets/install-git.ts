/** Makes git merge and show encrypted files of a repository with kws. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import type { Repository } from "../project/repository.ts";

/** As git runs them, by its shell. */
const settings = {
  "merge.kws-sops.name": "encrypted files, merged key by key",
  "merge.kws-sops.driver": "kws secrets merge-driver %O %A %B %P",
  "diff.kws-sops.textconv": "kws secrets textconv",
};

export interface InstalledGit {
  /** The repository's `.gitattributes`, which is to be committed. */
  attributes: string;
  /** The lines that were added to it. */
  added: string[];
}

/** Sets up this clone, and says in `.gitattributes` which files are meant; what is there already stays. */
export async function installGit(repository: Repository, patterns: string[]): Promise<InstalledGit> {
  for (const [name, value] of Object.entries(settings))
    await repository.read(["config", "--local", name, value]);
  const attributes = join(repository.root, ".gitattributes");
  const before = await readFile(attributes, "utf8").catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  });
  const known = new Set(before.split(/\r?\n/));
  const added = patterns
    .map((pattern) => `${pattern} diff=kws-sops merge=kws-sops`)
    .filter((line) => !known.has(line));
  const gap = before === "" || before.endsWith("\n") ? "" : "\n";
  if (added.length > 0) await replaceFile(attributes, `${before}${gap}${added.join("\n")}\n`);
  return { attributes, added };
}
