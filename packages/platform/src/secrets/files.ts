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
import type { Key, KeyType } from "@kws/sops/keys/key";
import { type KeySpecOptions, parseKeys } from "@kws/sops/keyspec";
import { checkSelection, type Selection } from "@kws/sops/rules";

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

/** Which rules hold for a file. */
export interface RulePlace {
  /** The `.sops.yaml` to use, instead of the nearest one. */
  config?: string | undefined;
  /** Absolute: the path that rules are looked up by, instead of the file's own. */
  filename?: string | undefined;
}

/** What is said on the command line wins over what the rules say. */
export interface Choices {
  keys?: readonly Key[];
  shamirThreshold?: number | undefined;
  selection?: Selection;
  macOnlyEncrypted?: boolean | undefined;
  /** Encryption context of AWS KMS keys. */
  context?: Record<string, string> | undefined;
}

export interface FileRule extends Omit<CreationRule, "at"> {
  /** Blanks per level. */
  indent: number | undefined;
}

/** How a new file is encrypted, and for whom: as was chosen, else as its creation rule says. */
export async function ruleOf(
  { path, format }: Pick<SecretFile, "path" | "format">,
  place: RulePlace,
  { keys = [], context, ...choices }: Choices = {},
): Promise<FileRule> {
  const ruled = place.filename ?? path;
  const config = await configOf(ruled, place.config);
  const rule = keys.length > 0 ? ruleIfAny(config, ruled) : config?.ruleFor(ruled, context);
  if (keys.length > 0 || rule !== undefined) {
    return {
      groups: keys.length > 0 ? [[...keys]] : (rule?.groups ?? []),
      shamirThreshold: choices.shamirThreshold ?? rule?.shamirThreshold ?? 0,
      selection: checkSelection({ ...rule?.selection, ...choices.selection }, rule?.at),
      macOnlyEncrypted: choices.macOnlyEncrypted === true || rule?.macOnlyEncrypted === true,
      indent: config?.indentOf(format),
    };
  }
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

/** Keys as command lines have them, those of a kind separated by commas; `texts` are by kind. */
export function namedKeys(
  texts: Partial<Record<KeyType, string | undefined>>,
  options: Pick<KeySpecOptions, "aws_profile" | "context">,
): Key[] {
  return (Object.keys(texts) as KeyType[]).flatMap((type) => parseKeys(type, texts[type] ?? "", options));
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
