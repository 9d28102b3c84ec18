/** Secrets that travel inside a package must be encrypted: all of a profile's `secrets`, and what `.sops.yaml` says. */
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { findConfig, loadConfig } from "@kws/sops/config";
import { SopsError } from "@kws/sops/errors";
import { isEncrypted } from "@kws/sops/file";
import { formatOfPath, readEncrypted } from "@kws/sops/formats";
import { refuseUnsealed } from "../secrets/sealed.ts";
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
  const format = formatOfPath(path);
  if (isEncrypted(content, { format, file })) {
    const { documents, metadata } = readEncrypted(content, format, file);
    refuseUnsealed(documents, metadata, file);
    return;
  }
  const reason = isSecrets(path)
    ? "a profile's secrets are encrypted"
    : isHelms(path)
      ? undefined
      : await ruleFor(file);
  if (reason === undefined) return;
  throw new UserError(`${file} is in the clear: ${reason}`, {
    code: "config",
    at: `${file}:1:1`,
    fix: `Encrypt it: \`sops encrypt --in-place ${file}\`. If it was committed like this, replace what it holds.`,
  });
}

function isSecrets(path: string): boolean {
  return /^profiles\/[^/]+\/secrets\.[^/]+$/.test(path);
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
