/** Secrets that travel inside a package must be encrypted: all of a profile's `secrets`, and what `.sops.yaml` says. */
import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { UserError } from "@kws/base/errors";
import { SopsError } from "@kws/sops/errors";
import { isEncrypted } from "@kws/sops/file";
import { formatOfPath, readEncrypted } from "@kws/sops/formats";
import type { FormatName } from "@kws/sops/formats/format";
import { expression } from "@kws/sops/rules";
import { readYamlFile } from "../project/yaml-file.ts";
import { refuseUnsealed } from "../secrets/sealed.ts";
import type { ChartSource } from "./source.ts";

/** Throws `config` for a file, or a value in a file, that is in the clear and should not be. No key is needed. */
export async function refusePlaintext({ dir, files }: ChartSource): Promise<void> {
  for (const [path, content] of files) {
    const file = join(dir, path);
    const options = { format: formatOfPath(path), file };
    if (isEncrypted(content, options)) {
      refuseHalfEncrypted(content, options);
      continue;
    }
    const reason = /^profiles\/[^/]+\/secrets\.[^/]+$/.test(path)
      ? "a profile's secrets are encrypted"
      : isHelms(path)
        ? undefined
        : await ruleFor(file);
    if (reason === undefined) continue;
    throw new UserError(`${file} is in the clear: ${reason}`, {
      code: "config",
      at: `${file}:1:1`,
      fix: `Encrypt it: \`sops encrypt --in-place ${file}\`. If it was committed like this, replace what it holds.`,
    });
  }
}

function refuseHalfEncrypted(
  content: Uint8Array,
  { format, file }: { format: FormatName; file: string },
): void {
  try {
    const { documents, metadata } = readEncrypted(content, format, file);
    refuseUnsealed(documents, metadata, file);
  } catch (error) {
    if (!(error instanceof SopsError)) throw error;
    throw new UserError(`${file} is not encrypted as it says: ${error.message}`, {
      code: "config",
      at: error.at ?? file,
      fix: "Encrypt it again. If it was committed like this, replace what it holds.",
      cause: error,
    });
  }
}

/** What Helm reads itself cannot be encrypted, however wide a rule is. */
function isHelms(path: string): boolean {
  return (
    /^(Chart\.(yaml|lock)|values\.yaml|values\.schema\.json|\.helmignore|profiles\/[^/]+\/profile\.yaml)$/.test(
      path,
    ) || /^(templates|crds|charts)\/|(^|\/)\.sops\.yaml$/.test(path)
  );
}

/**
 * The rule of the nearest `.sops.yaml` that names the file. A rule without `path_regex` says how files are encrypted, not
 * which ones.
 */
async function ruleFor(file: string): Promise<string | undefined> {
  for (let dir = dirname(file); ; dir = dirname(dir)) {
    const config = join(dir, ".sops.yaml");
    if (existsSync(config)) {
      const read = await readYamlFile(config);
      const rules = (read.value as { creation_rules?: unknown } | null)?.creation_rules;
      if (!Array.isArray(rules)) return undefined;
      for (const [index, rule] of (rules as { path_regex?: unknown }[]).entries()) {
        const place = read.at(["creation_rules", index, "path_regex"]);
        if (typeof rule?.path_regex !== "string" || rule.path_regex === "") return undefined;
        if (expression(rule.path_regex, "path_regex", place)(relative(dir, file)))
          return `the rule at ${place} says that it is encrypted`;
      }
      return undefined;
    }
    if (dirname(dir) === dir) return undefined;
  }
}
