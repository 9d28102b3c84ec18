/**
 * Data keys: unwrapped once in a run however many files share one, and wrapped for the keys that a file names. With several
 * groups every group holds a share, and as many groups as the threshold says are needed.
 */
import { randomBytes } from "node:crypto";
import { SopsError } from "./errors.ts";
import type { Key, KeyGroup, KeyServices, KeyType } from "./keys/key.ts";
import { combine, split } from "./keys/shamir.ts";
import type { Metadata } from "./metadata.ts";

export interface KeyringOptions {
  services: KeyServices;
  signal?: AbortSignal;
}

export interface Keyring {
  /** The data key of a file. Fails with every key that was tried and why it did not do. */
  dataKey(metadata: Pick<Metadata, "keyGroups" | "shamirThreshold">, file?: string): Promise<Uint8Array>;
  /** Wraps a data key, a new one unless given, with all keys of all groups. */
  wrap(groups: readonly (readonly Key[])[], threshold: number, dataKey?: Uint8Array): Promise<WrappedDataKey>;
}

export interface WrappedDataKey {
  dataKey: Uint8Array;
  keyGroups: KeyGroup[];
  shamirThreshold: number;
}

/** What is local is tried first. */
const order: readonly KeyType[] = ["age", "pgp"];

export function openKeyring({ services, signal }: KeyringOptions): Keyring {
  /** By wrapped key; calls under way are shared, failures are forgotten. */
  const unwrapped = new Map<string, Promise<Uint8Array>>();

  const unwrap = (wrapped: KeyGroup[number]): Promise<Uint8Array> => {
    const id = JSON.stringify([wrapped.key, wrapped.enc]);
    let call = unwrapped.get(id);
    if (call === undefined) {
      call = services[wrapped.key.type].unwrap(wrapped, { signal });
      unwrapped.set(id, call);
      call.catch(() => unwrapped.delete(id));
    }
    return call;
  };

  const unwrapGroup = async (group: KeyGroup): Promise<Uint8Array> => {
    const failures: Error[] = [];
    const rank = ({ key }: KeyGroup[number]): number =>
      (order.indexOf(key.type) + order.length + 1) % (order.length + 1);
    for (const wrapped of group.toSorted((a, b) => rank(a) - rank(b))) {
      signal?.throwIfAborted();
      try {
        return await unwrap(wrapped);
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof SopsError)) throw error;
        failures.push(error);
      }
    }
    throw new AggregateError(failures);
  };

  return {
    async dataKey({ keyGroups, shamirThreshold }, file) {
      const results = await Promise.allSettled(keyGroups.map(unwrapGroup));
      signal?.throwIfAborted();
      const parts: Uint8Array[] = [];
      const failures: SopsError[] = [];
      for (const result of results) {
        if (result.status === "fulfilled") parts.push(result.value);
        else if (result.reason instanceof AggregateError)
          failures.push(...(result.reason.errors as SopsError[]));
        else throw result.reason;
      }
      const needed = keyGroups.length > 1 ? shamirThreshold || keyGroups.length : 1;
      if (parts.length < needed) throw notOpened(keyGroups.length, needed, parts.length, failures, file);
      return keyGroups.length > 1 ? combine(parts) : parts[0]!;
    },

    async wrap(groups, threshold, dataKey = randomBytes(32)) {
      if (groups.length === 0 || groups.some((group) => group.length === 0)) {
        throw new SopsError("noEncryptionKeyFound", "there is no key to encrypt for", {
          code: "config",
          fix: "Name an age recipient, a PGP fingerprint or a KMS key in .sops.yaml.",
        });
      }
      const several = groups.length > 1;
      const needed = several ? threshold || groups.length : threshold;
      if (several && (needed < 2 || needed > groups.length)) {
        throw new SopsError(
          "errorReadingConfig",
          `shamir_threshold has to be 2 to ${groups.length}, the number of groups`,
          {
            code: "config",
          },
        );
      }
      const parts = several ? split(dataKey, groups.length, needed) : [dataKey];
      const keyGroups = await Promise.all(
        groups.map((group, index) =>
          Promise.all(group.map((key) => services[key.type].wrap(key, parts[index]!, { signal }))),
        ),
      );
      return { dataKey, keyGroups, shamirThreshold: needed };
    },
  };
}

function notOpened(
  groups: number,
  needed: number,
  opened: number,
  failures: readonly SopsError[],
  file: string | undefined,
): SopsError {
  const which =
    groups === 1 ? "none of its keys can be used here" : `${opened} of the ${needed} needed key groups open`;
  const reasons = failures.map((failure) => `\n  ${failure.message}`).join("");
  return new SopsError("couldNotRetrieveKey", `the data key cannot be recovered: ${which}${reasons}`, {
    code: "permission",
    at: file,
    fix:
      failures.find(({ fix }) => fix !== undefined)?.fix ??
      "Ask a recipient to add your key, or set up the one that you have.",
  });
}
