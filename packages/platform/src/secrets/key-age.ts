/** Since when the data keys of encrypted files are what they are: by their own entries, by git, or by the last change. */
import type { Metadata } from "@kws/sops/metadata";
import type { Repository } from "../project/repository.ts";

export interface KeyAge {
  /** When the data key was made, RFC 3339. */
  since: string;
  /** How that is known: from the key's own entry, from git, or only that it is not younger than the last change. */
  sinceBy: "created_at" | "git" | "lastmodified";
}

/** The ages of the data keys of files of one folder, by one run of git for all of them. */
export async function keyAges(
  repository: Repository | undefined,
  files: readonly { path: string; metadata: Metadata }[],
): Promise<KeyAge[]> {
  const dates =
    repository === undefined ? new Map<string, string>() : await firstCommitted(repository, files);
  return files.map(({ metadata }) => ageOf(metadata, dates));
}

function ageOf({ keyGroups, lastModified }: Metadata, dates: Map<string, string>): KeyAge {
  const known = keyGroups.flat().flatMap(({ enc, created_at }): KeyAge[] => {
    if (created_at !== undefined) return [{ since: created_at, sinceBy: "created_at" }];
    const date = dates.get(markOf(enc) ?? "");
    return date === undefined ? [] : [{ since: date, sinceBy: "git" }];
  });
  const [first] = known.sort((a, b) => Date.parse(a.since) - Date.parse(b.since));
  return first ?? { since: lastModified, sinceBy: "lastmodified" };
}

/**
 * When each wrapped age key was first committed, by the text that `markOf` gives; one run of git for all files. A rename counts
 * as the first time. Empty where git's answer is too long to be read.
 */
async function firstCommitted(
  repository: Repository,
  files: readonly { path: string }[],
): Promise<Map<string, string>> {
  const dates = new Map<string, string>();
  if (files.length === 0) return dates;
  const log = [
    "log",
    "--reverse",
    "--patch",
    "--unified=0",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
  ];
  const paths = files.map(({ path }) => repository.pathOf(path));
  const result = await repository.git([...log, "--format=%x00%cI", "--", ...paths]);
  if (result.exitCode !== 0) return dates;
  let date = "";
  for (const line of result.stdout.split("\n")) {
    if (line.startsWith("\0")) date = new Date(line.slice(1)).toISOString();
    else if (line.startsWith("+")) {
      for (const word of line.slice(1).split(/\\n|[\s"']/))
        if (word.length === markLength && !dates.has(word)) dates.set(word, date);
    }
  }
  return dates;
}

const markLength = 64;

/**
 * The second line of an age key's armor, which no other one has: the first holds the recipient's type alone where that is long.
 * Every format writes it in one piece.
 */
function markOf(enc: string): string | undefined {
  const line = enc.split("\n")[2];
  return line?.length === markLength ? line : undefined;
}
