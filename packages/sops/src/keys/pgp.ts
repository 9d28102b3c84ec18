/**
 * PGP keys, by fingerprint. GnuPG comes first, because only it reaches agents and smartcards; where it is missing or has no
 * such key, the keyrings in the older format are read, `pubring.gpg` and `secring.gpg` in GnuPG's home, which
 * `gpg --export` and `gpg --export-secret-keys` write (as sops does, in its `pgp/keysource.go`).
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import type { Key as PgpKey, PrivateKey } from "openpgp";
import { SopsError } from "../errors.ts";
import {
  createdAt,
  describeKey,
  type KeyOf,
  type KeyService,
  type KeyWorld,
  keyOf,
  printable,
} from "./key.ts";

/** A data key in a message for one key takes about 1,000 characters. */
const longestMessage = 64 * 1024;

export function openPgp(world: KeyWorld): KeyService {
  const keyrings = openKeyrings(world);
  return {
    async wrap(key, data, call) {
      const normal = normalize(keyOf("pgp", key));
      const enc = await firstOf(
        () => encryptWithGpg(world, normal.fp, data, call.signal),
        () => encryptWithKeyrings(keyrings, normal.fp, data),
        call.signal,
        (problem) =>
          new SopsError("errorGeneric", `${describeKey(normal)} cannot be encrypted for: ${problem}`, {
            fix: "Import its public key with `gpg --import`, and see that it has not expired.",
          }),
      );
      return { key: normal, enc: enc.trim(), created_at: createdAt(world) };
    },
    async unwrap(wrapped, call) {
      const { enc } = wrapped;
      const key = keyOf("pgp", wrapped.key);
      if (enc.length > longestMessage)
        throw cannotOpen(key, `what the file holds has ${enc.length} characters`);
      return await firstOf(
        () => decryptWithGpg(world, enc, call.signal),
        () => decryptWithKeyrings(keyrings, enc),
        call.signal,
        (problem) => cannotOpen(key, problem),
      );
    },
  };
}

function cannotOpen(key: KeyOf<"pgp">, problem: string): SopsError {
  return new SopsError("couldNotRetrieveKey", `${describeKey(key)} does not open the data key: ${problem}`, {
    code: "permission",
    fix: "Import its secret key with `gpg --import`, or ask somebody who has one of the file's keys to add yours.",
  });
}

/** The first way that works; where none does, what each of them said. */
async function firstOf<T>(
  gpg: () => Promise<T>,
  keyrings: () => Promise<T>,
  signal: AbortSignal | undefined,
  failure: (problem: string) => SopsError,
): Promise<T> {
  const problems: string[] = [];
  for (const way of [gpg, keyrings]) {
    signal?.throwIfAborted();
    try {
      return await way();
    } catch (error) {
      signal?.throwIfAborted();
      problems.push(messageOf(error));
    }
  }
  throw failure(problems.join("; "));
}

/** Fingerprints may be written with blanks, and a long key id does in place of one, as for sops. */
function normalize(key: KeyOf<"pgp">): KeyOf<"pgp"> {
  const fp = key.fp.replaceAll(/\s/g, "").toUpperCase();
  if (/^[0-9A-F]{16,64}$/.test(fp)) return { type: "pgp", fp };
  throw new SopsError("errorGeneric", `${describeKey(key)} is named by no fingerprint`, {
    code: "config",
    fix: "Take the 40 hexadecimal digits that `gpg --list-keys` prints.",
  });
}

async function encryptWithGpg(
  world: KeyWorld,
  fp: string,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<string> {
  // Whoever named the fingerprint trusts the key; the web of trust has nothing to add.
  const args = ["--batch", "--yes", "--no-default-recipient", "--no-encrypt-to", "--trust-model", "always"];
  return await gpg(world, [...args, "--armor", "--encrypt", "--recipient", fp], data, signal);
}

async function decryptWithGpg(
  world: KeyWorld,
  enc: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const data = await gpg(world, ["--batch", "--quiet", "--decrypt"], enc, signal);
  return Uint8Array.from(Buffer.from(data, "latin1"));
}

async function gpg(
  { env, cwd }: KeyWorld,
  args: readonly string[],
  input: string | Uint8Array,
  signal: AbortSignal | undefined,
): Promise<string> {
  const program = env.SOPS_GPG_EXEC ?? "gpg";
  const { exitCode, stdout, stderr } = await exec(program, args, {
    env,
    cwd,
    input,
    signal,
    encoding: "latin1",
  });
  if (exitCode !== 0)
    throw new UserError(printable(lastLines(stderr, 1)) || `${program} exited with ${exitCode}`);
  return stdout;
}

interface Keyrings {
  publicKeys: () => Promise<PgpKey[]>;
  privateKeys: () => Promise<PrivateKey[]>;
}

/** Each file is read and parsed when a key is first wanted from it, and once. */
function openKeyrings({ env, home }: KeyWorld): Keyrings {
  const folder = env.GNUPGHOME ?? join(home, ".gnupg");
  return {
    publicKeys: once(async () => {
      const { readKeys } = await import("openpgp");
      return (
        await Promise.all([
          readKeyring(join(folder, "pubring.gpg"), readKeys),
          readKeyring(join(folder, "secring.gpg"), readKeys),
        ])
      ).flat();
    }),
    privateKeys: once(async () => {
      const { readPrivateKeys } = await import("openpgp");
      return await readKeyring(join(folder, "secring.gpg"), readPrivateKeys);
    }),
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return async () => await (made ??= make());
}

/** No keys where there is no such file. */
async function readKeyring<T>(
  path: string,
  read: (options: { binaryKeys: Uint8Array }) => Promise<T[]>,
): Promise<T[]> {
  try {
    return await read({ binaryKeys: await readFile(path) });
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
    throw new UserError(`${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function encryptWithKeyrings(keyrings: Keyrings, fp: string, data: Uint8Array): Promise<string> {
  const keys = await keyrings.publicKeys();
  const key = keys.find((key) =>
    key.getKeys().some((part) => part.getFingerprint().toUpperCase().endsWith(fp)),
  );
  if (key === undefined) throw new UserError("it is in neither pubring.gpg nor secring.gpg");
  const { createMessage, encrypt } = await import("openpgp");
  return await encrypt({ message: await createMessage({ binary: data }), encryptionKeys: key });
}

async function decryptWithKeyrings(keyrings: Keyrings, enc: string): Promise<Uint8Array> {
  const keys = await keyrings.privateKeys();
  const open = keys.filter((key) => key.isDecrypted());
  if (open.length === 0) {
    throw new UserError(
      `${keys.length === 0 ? "no secret key is" : "a passphrase protects every key"} in secring.gpg`,
    );
  }
  const { decrypt, readMessage } = await import("openpgp");
  const message = await readMessage({ armoredMessage: enc });
  const { data } = await decrypt({
    message,
    decryptionKeys: open,
    format: "binary",
    config: { maxDecompressedMessageSize: longestMessage },
  });
  return data;
}
