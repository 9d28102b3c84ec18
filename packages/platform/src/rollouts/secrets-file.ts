/** A profile's own encrypted file: one value changed in it, and that change committed alone. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { lastLines } from "@kws/base/exec";
import { chartFolder } from "../charts/chart.ts";
import { compare } from "../config/changes.ts";
import { type GitSettings, readRevision } from "../packages/revision.ts";
import { keyPath } from "../project/key-path.ts";
import { fileAt, openRepository } from "../project/repository.ts";
import type { ProjectService } from "../project/workspace.ts";
import { readSecretFile, writeSecretFile } from "../secrets/files.ts";
import { openFile, setValue, type Tools, unsetValue } from "../secrets/operations.ts";

/** Throws `not-found` where the profile has none. */
export async function secretsFile(service: ProjectService, profile: string): Promise<string> {
  const path = join(await chartFolder(service), "profiles", profile, "secrets.yaml");
  if (existsSync(path)) return path;
  throw new UserError(`the profile ${profile} of ${service.name} has no secrets: ${path} does not exist`, {
    code: "not-found",
    at: path,
    fix: `Make it with \`kws secrets edit ${path}\`, and commit it.`,
  });
}

/** Undefined takes the value away. */
export type Change = [key: string[], value: string | undefined];

/** Replaces the file once, with all of the changes. */
export async function changeSecrets(path: string, changes: Change[], tools: Tools): Promise<void> {
  const file = await readSecretFile(path);
  for (const [key, value] of changes) {
    const opened = await openFile(file, tools);
    const content =
      value === undefined ? unsetValue(opened, key, tools) : setValue(opened, key, value, tools);
    if (content !== undefined) file.content = Buffer.from(content);
  }
  await writeSecretFile(path, file.content.toString());
}

export async function isCommitted(path: string, settings: GitSettings): Promise<boolean> {
  const repository = await openRepository(dirname(path), settings);
  return (await repository.read(["status", "--porcelain", "--", repository.pathOf(path)])) === "";
}

/** Commits the file alone, whatever else is staged. Throws `conflict` where more than the keys was changed in it. */
export async function commitSecrets(
  path: string,
  keys: string[][],
  message: string,
  settings: GitSettings,
): Promise<void> {
  const repository = await openRepository(dirname(path), settings);
  const name = repository.pathOf(path);
  const { changes, reencrypted } = compare(
    name,
    await fileAt(repository, "HEAD", name),
    await readFile(path, "utf8"),
  );
  const own = new Set(keys.map(keyPath));
  const others = changes.filter(({ key }) => !own.has(key)).map(({ key }) => key);
  if (others.length > 0 || reencrypted) {
    const what = reencrypted ? "under a new data key" : `with changes of ${others.slice(0, 3).join(", ")}`;
    throw new UserError(`${path} is not committed, ${what}`, {
      code: "conflict",
      at: path,
      fix: "Commit it, or take it back with `git restore`; then run the command again.",
    });
  }
  for (const args of [
    ["add", "--", name],
    ["commit", "--quiet", "--only", "--file=-", "--", name],
  ]) {
    const { exitCode, stdout, stderr } = await repository.git(args, message);
    if (exitCode !== 0) throw notCommitted(path, stderr || stdout);
  }
}

function notCommitted(path: string, said: string): UserError {
  // A git that was killed leaves it.
  const lock = /'([^']+\.lock)'/.exec(said)?.[1];
  return new UserError(
    `git does not commit: ${lock === undefined ? lastLines(said, 4) : `there is a ${lock}`}`,
    {
      at: path,
      fix:
        lock === undefined
          ? "Mend what git says, and run the same command again."
          : "Wait for the git that works there; where none does, remove that file. Then run the same command again.",
    },
  );
}

/** A package holds all of the service's folder: throws `conflict` where something of it is not committed. */
export async function refuseUncommitted(service: ProjectService, settings: GitSettings): Promise<void> {
  const { changes } = await readRevision(service, settings);
  if (changes.length === 0) return;
  throw new UserError(
    `${service.name} has changes that are not committed: ${changes.slice(0, 3).join(", ")}`,
    {
      code: "conflict",
      at: service.dir,
      fix: "Commit them, or take them back; a rotation packages what is committed.",
    },
  );
}
