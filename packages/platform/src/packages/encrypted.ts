/** Secrets that travel inside a package must be encrypted: all of a profile's `secrets`, and what `.sops.yaml` says. */
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { findConfig, loadConfig } from "@kws/sops/config";
import { SopsError } from "@kws/sops/errors";
import { isEncrypted } from "@kws/sops/file";
import { formatOfPath, readEncrypted } from "@kws/sops/formats";
import { isProfileSecrets, nothingSealed, refuseUnsealed } from "../secrets/sealed.ts";
import type { ChartSource } from "./source.ts";

/** Throws `config` for a file, or a value in a file, that is in the clear and should not be. No key is needed. */
export async function refusePlaintext({ dir, files }: ChartSource): Promise<void> {
  try {
    for (const [path, content] of files) await refuseIn(join(dir, path), path, content);
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    // With the exit code of kws instead of that of sops.
    const { message, at, fix } = error;
    throw new UserError(message, { code: "config", ...(at && { at }), ...(fix && { fix }), cause: error });
  }
}

async function refuseIn(file: string, path: string, content: Uint8Array): Promise<void> {
  if (isHelms(path)) return;
  const format = formatOfPath(path);
  if (isEncrypted(content, { format, file })) {
    const { documents, metadata } = readEncrypted(content, format, file);
    refuseUnsealed(documents, metadata, file);
    if (!isProfileSecrets(path) || !nothingSealed(documents)) return;
    const reason = "the rule in its sops block encrypts none of its values";
    throw inTheClear(file, reason, "Decrypt it, and encrypt it by another rule.");
  }
  const reason = isProfileSecrets(path) ? "a profile's secrets are encrypted" : await ruleFor(file);
  if (reason !== undefined) {
    throw inTheClear(file, reason, `Encrypt it: \`kws secrets encrypt --in-place ${file}\`.`);
  }
}

function inTheClear(file: string, reason: string, fix: string): UserError {
  return new UserError(`${file} is in the clear: ${reason}`, {
    code: "config",
    at: `${file}:1:1`,
    fix: `${fix} If it was committed like this, replace what it holds.`,
  });
}

/** What Helm reads itself cannot be encrypted, however wide a rule is. */
function isHelms(path: string): boolean {
  return (
    /^(Chart\.(yaml|lock)|values\.yaml|values\.schema\.json|\.helmignore|profiles\/[^/]+\/profile\.yaml)$/.test(
      path,
    ) || /^(templates|crds|charts)\/|(^|\/)\.sops\.yaml$/.test(path)
  );
}

/** What the nearest `.sops.yaml` says of the file. */
async function ruleFor(file: string): Promise<string | undefined> {
  const { path } = await findConfig(dirname(file));
  const at = path === undefined ? undefined : (await loadConfig(path)).namedAt(file);
  return at === undefined ? undefined : `the rule at ${at} says that it is encrypted`;
}
