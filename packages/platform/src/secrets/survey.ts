/**
 * What can be said of the secrets in files without any key: which are encrypted and for whom, where that is not what the
 * creation rules say, and what should be encrypted and is not. The report, the check and the list begin here.
 */
import { lstat, readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isErrno } from "@kws/base/errors";
import type { CreationRule, SopsConfig } from "@kws/sops/config";
import { SopsError } from "@kws/sops/errors";
import { isEncrypted, isFor, keysOf } from "@kws/sops/file";
import { formatOfPath, readEncrypted } from "@kws/sops/formats";
import { describeKey, type Key } from "@kws/sops/keys/key";
import { keyId } from "@kws/sops/keyspec";
import type { Metadata } from "@kws/sops/metadata";
import { configOf, type SecretFile } from "./files.ts";
import { isProfileSecrets, nothingSealed, refuseUnsealed } from "./sealed.ts";

export interface SecretsFinding {
  kind:
    | "plaintext"
    | "damaged"
    | "broken-mac"
    | "no-key"
    | "extra-recipient"
    | "missing-recipient"
    | "other-groups"
    | "old-key"
    | "secret-in-plain-file"
    | "suspect";
  /** `file` or `file:line:column`. */
  at: string;
  message: string;
}

/** A file with a `sops` block that can be read. */
export interface Sealed extends SecretFile {
  metadata: Metadata;
}

/** Where files and their creation rules are read. */
export interface Source {
  /** Undefined for what is no regular file, is gone, or is too big to be looked into unless it is asked for `whole`. */
  read(path: string, whole: boolean): Promise<Buffer | undefined>;
  /** The rules for a file and all others of its folder. */
  config(path: string): Promise<SopsConfig | undefined>;
}

/** Bigger plain files are not looked into. */
const maxScanned = 1024 * 1024;

export const disk: Source = {
  async read(path, whole) {
    try {
      const info = await lstat(path);
      if (!info.isFile() || (info.size > maxScanned && !whole)) return undefined;
      return await readFile(path);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return undefined;
      throw error;
    }
  },
  config: (path) => configOf(path),
};

export interface SurveyOptions {
  signal: AbortSignal;
  source: Source;
  /** Files that have to be encrypted whatever the rules say. */
  named?: ReadonlySet<string>;
  /** Looks at a file that is not encrypted and need not be. */
  onPlain?: (file: SecretFile) => Promise<SecretsFinding[]>;
}

export interface Survey {
  sealed: Sealed[];
  findings: SecretsFinding[];
}

/** An order of paths and places in which lines 9 and 10 stand as people expect. */
export function byName(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

/** Looks at files, by their absolute paths. */
export async function survey(
  paths: readonly string[],
  { signal, source, named, onPlain }: SurveyOptions,
): Promise<Survey> {
  const found: Survey = { sealed: [], findings: [] };
  const ruleOf = createRules(source, found.findings);
  for (const path of paths) {
    signal.throwIfAborted();
    const { rule, reason } = await ruleOf(path);
    const must = reason ?? (named?.has(path) === true ? "it is not encrypted" : undefined);
    const content = await source.read(path, must !== undefined);
    if (content === undefined) continue;
    const file: SecretFile = { path, format: formatOfPath(path), content };
    if (!looksEncrypted(file)) {
      if (content.includes("ENC[AES256_GCM,") && (must !== undefined || file.format !== "binary"))
        found.findings.push({ kind: "damaged", at: path, message: cutOff });
      else if (must !== undefined) found.findings.push({ kind: "plaintext", at: path, message: must });
      else if (onPlain !== undefined) found.findings.push(...(await onPlain(file)));
      continue;
    }
    const sealed = readSealed(file, found.findings);
    if (sealed === undefined) continue;
    found.sealed.push(sealed);
    if (rule !== undefined) found.findings.push(...compareKeys(sealed, rule));
  }
  return found;
}

const cutOff =
  "it holds encrypted values and no sops block that can be read: it is cut off, or has a fault in its syntax";

/** Most files say so without being parsed. */
function looksEncrypted({ path, format, content }: SecretFile): boolean {
  return content.includes("sops") && isEncrypted(content, { format, file: path });
}

/** What the rules say about a file. */
interface RuleOfFile {
  rule: CreationRule | undefined;
  /** Why it has to be encrypted; undefined where it need not be. */
  reason: string | undefined;
}

/** Rules by file; each configuration is read once, and one with a fault is a finding. */
function createRules(source: Source, findings: SecretsFinding[]): (path: string) => Promise<RuleOfFile> {
  const configs = new Map<string, Promise<SopsConfig | undefined>>();
  const faulty = new Set<string>();
  const told = (error: unknown): undefined => {
    if (!(error instanceof SopsError)) throw error;
    const at = error.at ?? "";
    if (error.reason !== "errorGeneric" && !faulty.has(at))
      findings.push({ kind: "damaged", at, message: error.message });
    faulty.add(at);
    return undefined;
  };
  const ruleFor = (config: SopsConfig | undefined, path: string): CreationRule | undefined => {
    try {
      return config?.ruleFor(path);
    } catch (error) {
      return told(error);
    }
  };
  return async (path) => {
    const folder = dirname(path);
    const loading = configs.get(folder) ?? source.config(path).catch(told);
    configs.set(folder, loading);
    const config = await loading;
    const rule = ruleFor(config, path);
    if (isProfileSecrets(path))
      return { rule, reason: "a profile's secrets are encrypted, and this file is in the clear" };
    // A rule that matches its own configuration says how files are encrypted, not which ones.
    const isDefault = config === undefined || rule?.at === ruleFor(config, config.path)?.at;
    if (rule === undefined || isDefault || basename(path) === ".sops.yaml")
      return { rule, reason: undefined };
    return { rule, reason: `the rule at ${rule.at} says that it is encrypted, and it is in the clear` };
  };
}

function readSealed(file: SecretFile, findings: SecretsFinding[]): Sealed | undefined {
  const { path, format, content } = file;
  let sealed: Sealed | undefined;
  try {
    const { documents, metadata } = readEncrypted(content, format, path);
    sealed = { ...file, metadata };
    refuseUnsealed(documents, metadata, path);
    if (isProfileSecrets(path) && nothingSealed(documents))
      findings.push({ kind: "plaintext", at: path, message: "its own rule encrypts none of its values" });
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    const kind = error.reason === "errorDecryptingTree" ? "plaintext" : "damaged";
    findings.push({ kind, at: error.at ?? path, message: error.message });
  }
  return sealed;
}

/** Where the keys of a file are not those of its rule: what `kws secrets updatekeys` would change. */
function compareKeys({ path, metadata }: Sealed, rule: CreationRule): SecretsFinding[] {
  if (isFor(metadata, rule.groups, rule.shamirThreshold)) return [];
  const [has, wants] = [keysOf(metadata).flat(), rule.groups.flat()];
  const without = (keys: Key[], others: Key[]) => {
    const known = new Set(others.map(keyId));
    return keys.filter((key) => !known.has(keyId(key)));
  };
  const found = [
    ...without(has, wants).map((key): SecretsFinding => ({
      kind: "extra-recipient",
      at: path,
      message: `${describeKey(key)} can open it, and the rule at ${rule.at} does not name it`,
    })),
    ...without(wants, has).map((key): SecretsFinding => ({
      kind: "missing-recipient",
      at: path,
      message: `${describeKey(key)} cannot open it, and the rule at ${rule.at} names it`,
    })),
  ];
  if (found.length > 0) return found;
  const message = `its key groups, or how many of them are needed, are not those of the rule at ${rule.at}`;
  return [{ kind: "other-groups", at: path, message }];
}
