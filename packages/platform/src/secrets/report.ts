/**
 * What is to be said about the secrets of whole workspaces: who can open each encrypted file and since when, what the survey
 * finds, and what looks like a secret in plain files.
 */
import { UserError } from "@kws/base/errors";
import { keysOf } from "@kws/sops/file";
import type { Keyring } from "@kws/sops/keyring";
import { describeKey } from "@kws/sops/keys/key";
import { findFiles } from "./find-files.ts";
import type { SecretFile } from "./files.ts";
import { type KeyAge, keyAges } from "./key-age.ts";
import { scanText } from "./scan.ts";
import { byName, disk, type Sealed, type SecretsFinding, survey } from "./survey.ts";
import { type MacState, opensAll, verifyAll } from "./verify.ts";

export interface EncryptedFile extends KeyAge {
  file: string;
  format: string;
  recipients: string[];
  lastModified: string;
}

export interface ReportedFile extends EncryptedFile {
  mac: "unchecked" | MacState;
}

export interface SecretsReport {
  files: ReportedFile[];
  findings: SecretsFinding[];
}

export interface FolderOptions {
  /** Absolute. */
  folders: readonly string[];
  env: NodeJS.ProcessEnv;
  signal: AbortSignal;
}

export interface ReportOptions extends FolderOptions {
  now: Date;
  /** Data keys that are older are a finding; milliseconds. */
  maxAge?: number;
  /** Verifies the MACs of the files that its keys open. */
  verify?: { keyring: Keyring };
}

/** Kinds that are only probable, by a key's name. */
export function isCertain({ kind }: SecretsFinding): boolean {
  return kind !== "suspect";
}

export async function secretsReport(options: ReportOptions): Promise<SecretsReport> {
  const { now, maxAge, verify } = options;
  const { encrypted, findings } = await surveyFolders(options, suspects);
  const verified = verify && (await verifyAll(encrypted, verify.keyring, findings));
  for (const { path, since } of encrypted) {
    if (maxAge === undefined || now.getTime() - Date.parse(since) <= maxAge) continue;
    findings.push({ kind: "old-key", at: path, message: `its data key is from ${since.slice(0, 10)}` });
  }
  return {
    files: encrypted.map((file, index) =>
      Object.assign(describe(file), { mac: verified?.[index] ?? "unchecked" } as const),
    ),
    findings: findings.filter(({ kind }) => kind !== "no-key").sort((a, b) => byName(a.at, b.at)),
  };
}

export interface ListedFile extends EncryptedFile {
  /** Whether a key here opens it. */
  opens: boolean;
}

/** The encrypted files of folders. */
export async function listSecrets(options: FolderOptions, keyring: Keyring): Promise<ListedFile[]> {
  const { encrypted } = await surveyFolders(options);
  const opened = await opensAll(encrypted, keyring);
  return encrypted.map((file, index) => Object.assign(describe(file), { opens: opened[index] === true }));
}

type Dated = Sealed & KeyAge;

function describe({ path, format, metadata, since, sinceBy }: Dated): EncryptedFile {
  const recipients = keysOf(metadata).flat().map(describeKey);
  return { file: path, format, recipients, since, sinceBy, lastModified: metadata.lastModified };
}

/** The encrypted files of all folders by name; a file that is in several of them counts once. */
async function surveyFolders(
  { folders, env, signal }: FolderOptions,
  onPlain?: (file: SecretFile) => Promise<SecretsFinding[]>,
): Promise<{ encrypted: Dated[]; findings: SecretsFinding[] }> {
  const encrypted: Dated[] = [];
  const findings: SecretsFinding[] = [];
  const seen = new Set<string>();
  for (const folder of folders) {
    const { repository, files } = await findFiles(folder, { env, signal });
    const fresh = files.filter((file) => !seen.has(file));
    for (const file of fresh) seen.add(file);
    const found = await survey(fresh, { signal, source: disk, onPlain });
    const ages = await keyAges(repository, found.sealed);
    encrypted.push(...found.sealed.map((file, index) => ({ ...file, ...ages[index]! })));
    findings.push(...found.findings);
  }
  return { encrypted: encrypted.sort((a, b) => byName(a.path, b.path)), findings };
}

async function suspects({ path, content }: SecretFile): Promise<SecretsFinding[]> {
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
