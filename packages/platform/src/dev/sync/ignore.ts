/**
 * What a synchronised folder leaves out. Patterns have the syntax of .gitignore, later ones win: first the defaults, then
 * `.kwsignore` of the folder or, where there is none, its `.dockerignore`, then those of `kws.yaml`. `.gitignore` is not read:
 * what git does not keep is often what the service needs, such as `.env` and generated code.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import { readable } from "./entry.ts";

export interface IgnoreRules {
  /** Whether the path is left out; what is below one that is left out need not be asked for. */
  ignores(path: string, isFolder: boolean): boolean;
  /** Shell patterns of names that are left out wherever they are and that no later pattern brings back. */
  everywhere: string[];
}

/** Repositories, installed dependencies, what builds and tools write, and what editors write for a moment. */
export const defaultPatterns: readonly string[] = `
  .git .hg .svn .DS_Store
  node_modules .venv __pycache__ *.pyc .gradle .next .cache
  /dist /build /out /target /coverage
  .*.sw? .*.swpx 4913 *~ .#* *___jb_tmp___ *___jb_old___ .goutputstream-*`
  .trim()
  .split(/\s+/);

/** Names that the synchronisation itself writes; never transferred. */
export const ownNames = /(^|\/)(\.kws-sync-[^/]*|[^/]*\.kws-conflict(-\d+)?)$/;

export async function ignoreRules(root: string, patterns: readonly string[] = []): Promise<IgnoreRules> {
  const { default: ignore } = await import("ignore");
  const ordered = [...defaultPatterns, ...(await patternsOfFolder(root)), ...patterns];
  const rules = ignore({ ignorecase: false }).add(ordered);
  return {
    ignores: (path, isFolder) =>
      ownNames.test(path) || rules.ignores(isFolder ? `${readable(path)}/` : readable(path)),
    everywhere: plainNames(ordered),
  };
}

async function patternsOfFolder(root: string): Promise<string[]> {
  const own = await textIfThere(join(root, ".kwsignore"));
  if (own !== undefined) return own.split(/\r?\n/);
  return dockerPatterns((await textIfThere(join(root, ".dockerignore"))) ?? "");
}

async function textIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * `.dockerignore` in the syntax of `.gitignore`: its patterns begin at the root, and one with `!` brings back a file also from a
 * folder that is left out (https://docs.docker.com/build/concepts/context/#dockerignore-files).
 */
function dockerPatterns(text: string): string[] {
  return text.split(/\r?\n/).flatMap((line) => {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) return [];
    const brings = trimmed.startsWith("!");
    const parts = (brings ? trimmed.slice(1).trim() : trimmed)
      .split("/")
      .filter((part) => !/^\.?$/.test(part));
    if (parts.length === 0) return [];
    if (!brings) return [`/${parts.join("/")}`];
    return parts.map((_part, index) => `!/${parts.slice(0, index + 1).join("/")}`);
  });
}

/** Patterns without a slash hold for every name, unless a later exception could be about them. */
function plainNames(patterns: readonly string[]): string[] {
  const lastException = patterns.findLastIndex((pattern) => pattern.startsWith("!"));
  const excepted = new Set(
    patterns.filter((pattern) => pattern.startsWith("!")).map((pattern) => pattern.slice(1)),
  );
  return patterns.filter(
    (pattern, index) =>
      /^[^/!#\s\\']+$/.test(pattern) &&
      (index > lastException || (/^[\w.-]+$/.test(pattern) && !mentions(excepted, pattern))),
  );
}

function mentions(exceptions: ReadonlySet<string>, name: string): boolean {
  return [...exceptions].some((exception) => exception.includes(name) || /[*?[]/.test(exception));
}
