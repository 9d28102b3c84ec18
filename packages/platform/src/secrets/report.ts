/**
 * What is to be said about the secrets of whole workspaces: who can open each encrypted file and since when, where that is not
 * what the creation rules say, what should be encrypted and is not, and what looks like a secret in plain files.
 */
import { lstat, readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import type { CreationRule, SopsConfig } from "@kws/sops/config";
import { SopsError } from "@kws/sops/errors";
import { decrypt, isEncrypted, keysOf } from "@kws/sops/file";
import { formatOfPath, readEncrypted } from "@kws/sops/formats";
import { describeKey, type Key } from "@kws/sops/keys/key";
import { keyId } from "@kws/sops/keyspec";
import type { Metadata } from "@kws/sops/metadata";
import type { Repository } from "../project/repository.ts";
import { configOf, type SecretFile } from "./files.ts";
import { findFiles, firstCommitted, markOf } from "./report-files.ts";
import { scanText } from "./scan.ts";
import { refuseUnsealed } from "./sealed.ts";
import type { Tools } from "./operations.ts";

export interface EncryptedFile {
  file: string;
  format: string;
  recipients: string[];
  /** When its data key was made, RFC 3339. */
  since: string;
  /** How that is known: from the key's own entry, from git, or only that it is not younger than the last change. */
  sinceBy: "created_at" | "git" | "lastmodified";
  lastModified: string;
  mac: "unchecked" | "good" | "broken" | "no key";
}

export interface ReportFinding {
  kind:
    | "plaintext"
    | "damaged"
    | "broken-mac"
    | "extra-recipient"
    | "missing-recipient"
    | "old-key"
    | "secret-in-plain-file"
    | "suspect";
  /** `file` or `file:line:column`. */
  at: string;
  message: string;
}

export interface SecretsReport {
  files: EncryptedFile[];
  findings: ReportFinding[];
}

export interface ReportOptions {
  /** Absolute. */
  folders: string[];
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
  now: Date;
  /** Data keys that are older are a finding; milliseconds. */
  maxAge?: number;
  /** Verifies the MACs of the files that its keys open. */
  verify?: Pick<Tools, "keyring">;
}

/** Kinds that are only probable, by a key's name. */
export function isCertain({ kind }: ReportFinding): boolean {
  return kind !== "suspect";
}

/** Bigger plain files are not looked into. */
const maxScanned = 1024 * 1024;

export async function secretsReport(options: ReportOptions): Promise<SecretsReport> {
  const report: SecretsReport = { files: [], findings: [] };
  const seen = new Set<string>();
  for (const folder of options.folders) {
    const { repository, files } = await findFiles(folder, options);
    const fresh = files.filter((file) => !seen.has(file));
    for (const file of fresh) seen.add(file);
    await reportFiles(repository, fresh.sort(), options, report);
  }
  const order = (a: string, b: string) => a.localeCompare(b, "en", { numeric: true });
  report.files.sort((a, b) => order(a.file, b.file));
  report.findings.sort((a, b) => order(a.at, b.at));
  return report;
}

async function reportFiles(
  repository: Repository | undefined,
  paths: string[],
  options: ReportOptions,
  { files, findings }: SecretsReport,
): Promise<void> {
  const rules = createRules(findings);
  const encrypted: { secret: SecretFile; metadata: Metadata }[] = [];
  for (const path of paths) {
    options.signal.throwIfAborted();
    const rule = await rules(path);
    const secret = await readRegular(path, rule.must);
    if (secret === undefined) continue;
    if (!looksEncrypted(secret)) {
      if (rule.must) findings.push({ kind: "plaintext", at: path, message: rule.reason });
      else findings.push(...(await suspects(secret)));
      continue;
    }
    const metadata = readMetadata(secret, findings);
    if (metadata === undefined) continue;
    encrypted.push({ secret, metadata });
    if (rule.rule !== undefined) findings.push(...compareRecipients(path, metadata, rule.rule));
  }
  const dates =
    repository === undefined
      ? new Map<string, string>()
      : await firstCommitted(
          repository,
          encrypted.map(({ secret }) => secret.path),
        );
  for (const { secret, metadata } of encrypted) {
    const age = ageOf(metadata, dates);
    const mac = options.verify === undefined ? "unchecked" : await verified(secret, options.verify, findings);
    const old = options.now.getTime() - Date.parse(age.since);
    if (options.maxAge !== undefined && old > options.maxAge) {
      const message = `its data key is from ${age.since.slice(0, 10)}`;
      findings.push({ kind: "old-key", at: secret.path, message });
    }
    files.push({
      file: secret.path,
      format: secret.format,
      recipients: keysOf(metadata).flat().map(describeKey),
      ...age,
      lastModified: metadata.lastModified,
      mac,
    });
  }
}

/** What `.sops.yaml` says about a file. */
interface RuleOfFile {
  rule: CreationRule | undefined;
  /** It has to be encrypted, for the reason. */
  must: boolean;
  reason: string;
}

type Rules = (path: string) => Promise<RuleOfFile>;

/** Rules by file; each configuration is read once, and one with a fault is a finding. */
function createRules(findings: ReportFinding[]): Rules {
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
    const loading = configs.get(folder) ?? configOf(path).catch(told);
    configs.set(folder, loading);
    const config = await loading;
    const rule = ruleFor(config, path);
    if (/(^|\/)profiles\/[^/]+\/secrets\.[^/]+$/.test(path))
      return { rule, must: true, reason: "a profile's secrets are encrypted, and this file is in the clear" };
    // A rule that matches its own configuration says how files are encrypted, not which ones.
    const isDefault = config === undefined || rule?.at === ruleFor(config, config.path)?.at;
    const isRules = basename(path) === ".sops.yaml";
    const reason = `the rule at ${rule?.at} says that it is encrypted, and it is in the clear`;
    return { rule, must: rule !== undefined && !isDefault && !isRules, reason };
  };
}

/** Undefined for what is no regular file, is gone, or is too big to be looked into. */
async function readRegular(path: string, whole: boolean): Promise<SecretFile | undefined> {
  try {
    const info = await lstat(path);
    if (!info.isFile() || (info.size > maxScanned && !whole)) return undefined;
    return { path, format: formatOfPath(path), content: await readFile(path) };
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** Most files say so without being parsed. */
function looksEncrypted({ path, format, content }: SecretFile): boolean {
  return content.includes("sops") && isEncrypted(content, { format, file: path });
}

async function suspects({ path, content }: SecretFile): Promise<ReportFinding[]> {
  if (content.includes(0)) return [];
  try {
    const found = await scanText(path, content.toString());
    return found.map(({ at, what, certain }) => ({
      kind: certain ? "secret-in-plain-file" : "suspect",
      at,
      message: `${certain ? "holds" : "may hold"} a secret: ${what}`,
    }));
  } catch (error) {
    // YAML that is none, such as a chart's templates, has no keys to go by.
    if (error instanceof UserError) return [];
    throw error;
  }
}

function readMetadata(
  { path, format, content }: SecretFile,
  findings: ReportFinding[],
): Metadata | undefined {
  try {
    const { documents, metadata } = readEncrypted(content, format, path);
    refuseUnsealed(documents, metadata, path);
    return metadata;
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    const kind = error.reason === "errorDecryptingTree" ? "plaintext" : "damaged";
    findings.push({ kind, at: error.at ?? path, message: error.message });
    return undefined;
  }
}

function compareRecipients(path: string, metadata: Metadata, rule: CreationRule): ReportFinding[] {
  const [has, wants] = [keysOf(metadata).flat(), rule.groups.flat()];
  const without = (keys: Key[], others: Key[]) => {
    const known = new Set(others.map(keyId));
    return keys.filter((key) => !known.has(keyId(key)));
  };
  return [
    ...without(has, wants).map((key): ReportFinding => ({
      kind: "extra-recipient",
      at: path,
      message: `${describeKey(key)} can open it, and the rule at ${rule.at} does not name it`,
    })),
    ...without(wants, has).map((key): ReportFinding => ({
      kind: "missing-recipient",
      at: path,
      message: `${describeKey(key)} cannot open it, and the rule at ${rule.at} names it`,
    })),
  ];
}

function ageOf(metadata: Metadata, dates: Map<string, string>): Pick<EncryptedFile, "since" | "sinceBy"> {
  const known = metadata.keyGroups.flat().flatMap(({ enc, created_at }): [string, "created_at" | "git"][] => {
    if (created_at !== undefined) return [[created_at, "created_at"]];
    const date = dates.get(markOf(enc) ?? "");
    return date === undefined ? [] : [[date, "git"]];
  });
  const [first] = known.sort(([a], [b]) => Date.parse(a) - Date.parse(b));
  return first === undefined
    ? { since: metadata.lastModified, sinceBy: "lastmodified" }
    : { since: first[0], sinceBy: first[1] };
}

async function verified(
  { path, format, content }: SecretFile,
  { keyring }: Pick<Tools, "keyring">,
  findings: ReportFinding[],
): Promise<EncryptedFile["mac"]> {
  try {
    await decrypt(content, { format, file: path, keyring });
    return "good";
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    if (error.reason === "couldNotRetrieveKey") return "no key";
    findings.push({ kind: "broken-mac", at: error.at ?? path, message: messageOf(error) });
    return "broken";
  }
}
