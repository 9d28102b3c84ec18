/** What git is about to commit, as it stands in the index: files of the working tree may differ. */
import { basename, dirname, join, resolve } from "node:path";
import { parseConfig } from "@kws/sops/config";
import type { Repository } from "../project/repository.ts";
import { configOf } from "./files.ts";
import type { Source } from "./survey.ts";

export interface Staged {
  /** Absolute: the files that the commit adds or changes, and those below a `.sops.yaml` that it adds or changes. */
  files: string[];
  source: Source;
}

export async function openIndex(repository: Repository): Promise<Staged> {
  const { root } = repository;
  const names = (text: string) => text.split("\0").filter((name) => name !== "");
  const changed = names(
    await repository.read(["diff", "--cached", "--name-only", "--no-renames", "--diff-filter=d", "-z"]),
  );
  const index = new Map<string, string>();
  for (const line of names(await repository.read(["ls-files", "--stage", "-z"]))) {
    const [, mode = "", blob = "", stage = "", name = ""] =
      /^(\d+) ([0-9a-f]+) (\d)\t([\s\S]*)$/.exec(line) ?? [];
    // Neither symbolic links nor submodules, and no side of a conflict.
    if (mode.startsWith("100") && stage === "0") index.set(resolve(root, name), blob);
  }
  const touched = new Set(changed.map((name) => resolve(root, name)));
  const ruled = [...touched].filter((path) => basename(path) === ".sops.yaml").map(dirname);
  const isRuled = (path: string) => ruled.some((folder) => path.startsWith(join(folder, "/")));
  const textOf = async (path: string) => {
    const blob = index.get(path);
    return blob === undefined ? undefined : await repository.read(["cat-file", "blob", blob]);
  };
  return {
    files: [...index.keys()].filter((path) => touched.has(path) || isRuled(path)),
    source: {
      async read(path) {
        const text = await textOf(path);
        return text === undefined ? undefined : Buffer.from(text);
      },
      async config(file) {
        for (let at = dirname(file); at === root || at.startsWith(join(root, "/")); at = dirname(at)) {
          const path = join(at, ".sops.yaml");
          const text = await textOf(path);
          if (text !== undefined) return parseConfig(text, path);
        }
        return configOf(root);
      },
    },
  };
}
