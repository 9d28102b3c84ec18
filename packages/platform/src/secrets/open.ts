/** Opens the encrypted files of charts. What SOPS files are is for packages/sops to know. */
import { UserError } from "@kws/base/errors";
import { SopsError } from "@kws/sops/errors";
import type { Keyring } from "@kws/sops/keyring";
import type { KeyWorld } from "@kws/sops/keys/key";
import type { Decrypt } from "../charts/layers.ts";

/** The keys are looked for when a file first asks, and each wrapped data key is unwrapped once, however many files share it. */
export function secretOpener(world: KeyWorld, signal: AbortSignal): Decrypt {
  let keyring: Promise<Keyring> | undefined;
  return async (file, text) => {
    const { decrypt } = await import("@kws/sops/file");
    try {
      keyring ??= openKeys(world, signal);
      const opened = await decrypt(text, { format: "yaml", file, keyring: await keyring });
      return forHelm(opened.values());
    } catch (error) {
      if (!(error instanceof SopsError)) throw error;
      // The exit codes of `sops` are for kws' own commands on files; elsewhere the documented ones of kws hold.
      throw new UserError(error.message, {
        code: error.code,
        at: error.at ?? file,
        fix: error.fix,
        cause: error,
      });
    }
  };
}

/** All keys that can be found here; they are looked for when a file first asks. */
export async function openKeys(world: KeyWorld, signal: AbortSignal): Promise<Keyring> {
  const [{ openKeyring }, { openKeyServices }] = await Promise.all([
    import("@kws/sops/keyring"),
    import("@kws/sops/keys/services"),
  ]);
  return openKeyring({ services: openKeyServices(world), signal });
}

/**
 * Values as JSON has them: integers that a number cannot hold, and numbers that JSON does not have, become text; bytes what the
 * library chart takes for bytes.
 */
export function forHelm(value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(forHelm);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, forHelm(inner)]));
}
