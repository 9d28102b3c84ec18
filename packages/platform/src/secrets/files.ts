/** Encrypted files on disk: read as a whole, replaced as a whole, and what `.sops.yaml` says about them. */
import { existsSync } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { type CreationRule, findConfig, loadConfig, type SopsConfig } from "@kws/sops/config";
import { SopsError } from "@kws/sops/errors";
import { formatOfPath } from "@kws/sops/formats";
import type { FormatName } from "@kws/sops/formats/format";
import type { Key } from "@kws/sops/keys/key";
import { parseKeys } from "@kws/sops/keyspec";

export { formatOfPath };

export interface SecretFile {
  /** Absolute. */
  path: string;
  format: FormatName;
  content: Buffer;
}

/** The format is the one that the name says, as for sops, unless it is given. */
export async function readSecretFile(path: string, format?: FormatName): Promise<SecretFile> {
  try {
    return { path, format: format ?? formatOfPath(path), content: await readFile(path) };
  } catch (error) {
    const missing = isErrno(error, "ENOENT", "ENOTDIR");
    throw new SopsError(
      "couldNotReadInputFile",
      missing ? `${path} does not exist` : `${path} cannot be read: ${messageOf(error)}`,
      { code: missing ? "not-found" : "failed", at: path, cause: error },
    );
  }
}

/** `readSecretFile`, but a file that does not exist yet is empty. */
export async function readOrBegin(
  path: string,
  format?: FormatName,
): Promise<SecretFile & { isNew: boolean }> {
  try {
    return { ...(await readSecretFile(path, format)), isNew: false };
  } catch (error) {
    if (!(error instanceof SopsError) || error.code !== "not-found") throw error;
    // Told before somebody has written the text.
    if (!existsSync(dirname(path))) throw error;
    return { path, format: format ?? formatOfPath(path), content: Buffer.alloc(0), isNew: true };
  }
}

/** Replaces the file, or what a symbolic link leads to, and keeps its mode. Where that fails the old file stays. */
export async function writeSecretFile(path: string, content: string): Promise<void> {
  try {
    const target = await unlessMissing(realpath(path));
    const mode = target === undefined ? undefined : (await stat(target)).mode & 0o7777;
    await replaceFile(target ?? path, content, mode === undefined ? {} : { mode });
  } catch (error) {
    throw new SopsError(
      "couldNotWriteOutputFile",
      `${path} cannot be written and stays as it was: ${messageOf(error)}`,
      { code: isErrno(error, "EACCES", "EPERM") ? "permission" : "failed", at: path, cause: error },
    );
  }
}

async function unlessMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Keys named on the command line, and where the rules are, other than in the nearest `.sops.yaml`. */
export interface RuleOptions {
  keys?: readonly Key[];
  config?: string | undefined;
}

export interface FileRule extends Omit<CreationRule, "at"> {
  /** Blanks per level. */
  indent: number | undefined;
}

/** What a new file is encrypted for: the keys that were named, else those of its creation rule. */
export async function ruleOf(
  { path, format }: Pick<SecretFile, "path" | "format">,
  options: RuleOptions = {},
): Promise<FileRule> {
  const { keys = [] } = options;
  const config = await configOf(path, options.config);
  const indent = config?.indentOf(format);
  const rule = keys.length > 0 ? ruleIfAny(config, path) : config?.ruleFor(path);
  if (keys.length > 0) {
    const { selection = {}, macOnlyEncrypted = false } = rule ?? {};
    return { groups: [[...keys]], shamirThreshold: 0, selection, macOnlyEncrypted, indent };
  }
  if (rule !== undefined) return { ...rule, indent };
  throw new SopsError("configFileNotFound", `nothing says for whom ${path} is encrypted`, {
    code: "config",
    at: path,
    fix: "Add a creation rule to a .sops.yaml in its folder or above, or name a recipient with --age.",
  });
}

/** Keys that were named win over rules, and so a file may have none. */
function ruleIfAny(config: SopsConfig | undefined, path: string): CreationRule | undefined {
  try {
    return config?.ruleFor(path);
  } catch (error) {
    if (error instanceof SopsError && error.reason === "errorGeneric") return undefined;
    throw error;
  }
}

/** The rules that hold for a file; undefined where there are none. */
export async function configOf(path: string, given?: string): Promise<SopsConfig | undefined> {
  const found = given ?? (await findConfig(dirname(path))).path;
  return found === undefined ? undefined : loadConfig(found);
}

/** Keys as command lines have them, those of a kind separated by commas; `flags` are the texts by kind. */
export function namedKeys(flags: Partial<Record<"age" | "pgp" | "kms", string | undefined>>): Key[] {
  return (["age", "pgp", "kms"] as const).flatMap((type) => parseKeys(type, flags[type] ?? ""));
}

/** Throws `conflict` where somebody else wrote the file since it was read. */
export async function refuseChanged({ path, content }: SecretFile): Promise<void> {
  const now = await unlessMissing(readFile(path));
  if ((now ?? Buffer.alloc(0)).equals(content)) return;
  throw new UserError(`${path} was changed meanwhile, and is left as it is now`, {
    code: "conflict",
    at: path,
    fix: "Run the command again.",
  });
}
