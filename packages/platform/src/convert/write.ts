/** Writes what a conversion planned: files, and secrets as encrypted files or not at all. */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { configOf } from "../secrets/files.ts";
import type { Conversion, PlannedSecrets } from "./plan.ts";
import { yamlText } from "./templates.ts";

/** How a file's plain text becomes its encrypted one. */
export type Encrypt = (path: string, content: string, recipient: string | undefined) => Promise<string>;

export interface WriteOptions {
  /** Whom to encrypt for where no `.sops.yaml` says it; undefined where nobody is known. */
  recipient: string | undefined;
  encrypt: Encrypt;
  /** Files that exist are replaced. */
  force: boolean;
  /** Nothing is written. */
  dryRun: boolean;
}

/** Answers the paths of all files, and adds findings for secrets that could not be encrypted. Nothing is written where one file is in the way. */
export async function writeConversion(conversion: Conversion, options: WriteOptions): Promise<string[]> {
  const files = new Map(conversion.files);
  for (const secrets of conversion.secrets) await addSecrets(conversion, secrets, files, options);
  const paths = [...files.keys()];
  const inTheWay = options.force ? [] : paths.filter((path) => existsSync(path));
  const [first] = inTheWay;
  if (first !== undefined) {
    const others = inTheWay.length > 1 ? `, and ${inTheWay.length - 1} more` : "";
    throw new UserError(`${first} exists already${others}`, {
      code: "conflict",
      at: first,
      fix: "Remove them, or run `kws convert` with another folder (-o) or with --force, which replaces them.",
    });
  }
  if (options.dryRun) return paths;
  for (const [path, content] of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  return paths;
}

async function addSecrets(
  { root, findings }: Conversion,
  { path, values, from }: PlannedSecrets,
  files: Conversion["files"],
  { recipient, encrypt }: WriteOptions,
): Promise<void> {
  const rules = await configOf(path);
  if (rules === undefined && recipient === undefined) {
    for (const { name, key, at } of from) {
      findings.push({
        severity: "error",
        key,
        at,
        message: `${name} is a secret, and is not written: there is no key to encrypt it with`,
        fix: "Make a key (`kws secrets keygen`) or name a recipient (--age), and convert again with --force.",
      });
    }
    return;
  }
  if (rules === undefined)
    files.set(
      join(root, ".sops.yaml"),
      yamlText({ creation_rules: [{ path_regex: "secrets\\.yaml$", age: recipient }] }),
    );
  files.set(path, await encrypt(path, yamlText(values), rules === undefined ? recipient : undefined));
}
