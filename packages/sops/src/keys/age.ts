/**
 * age keys: X25519 recipients, hybrid post-quantum ones (`age1pq1…`), SSH public keys, and plugins through the `age` program.
 * Every recipient has an armored file of its own around the data key, as sops writes it (its `age/keysource.go`); the file's
 * format is https://age-encryption.org/v1.
 */
import { messageOf } from "@kws/base/errors";
import { SopsError } from "../errors.ts";
import {
  type FoundIdentities,
  type Identities,
  NoIdentityMatches,
  openIdentities,
} from "./age-identities.ts";
import { sshRecipient } from "./age-ssh.ts";
import { describeKey, type KeyOf, type KeyService, type KeyWorld, keyOf, printable } from "./key.ts";

/** Far above what any recipient needs for a data key, and far below what would make parsing slow. */
const longestFile = 64 * 1024;

export function openAge(world: KeyWorld): KeyService {
  const identities = openIdentities(world);
  return {
    async wrap(key, data, call) {
      call.signal?.throwIfAborted();
      const recipient = keyOf("age", key).recipient.trim();
      return { key: { type: "age", recipient }, enc: await encrypt({ type: "age", recipient }, data) };
    },
    async unwrap(wrapped, call) {
      return await unwrap(keyOf("age", wrapped.key), wrapped.enc, identities, call.signal);
    },
  };
}

async function encrypt(key: KeyOf<"age">, data: Uint8Array): Promise<string> {
  const { Encrypter, armor } = await import("age-encryption");
  const encrypter = new Encrypter();
  try {
    encrypter.addRecipient(
      key.recipient.startsWith("ssh-") ? await sshRecipient(key.recipient) : key.recipient,
    );
    return armor.encode(await encrypter.encrypt(data));
  } catch (error) {
    throw new SopsError("errorGeneric", `${describeKey(key)} is not valid: ${messageOf(error)}`, {
      code: "config",
      fix: "name the public key that age-keygen prints (age1…), or an SSH public key (ssh-ed25519 …, ssh-rsa …)",
      cause: error,
    });
  }
}

async function unwrap(
  key: KeyOf<"age">,
  enc: string,
  identities: Identities,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const file = await decodeArmor(key, enc);
  const tried: FoundIdentities[] = [];
  let stanzaTypes: string[] = [];
  // What lies on this machine is tried before a command is run that may ask the user or a server.
  for (const find of [identities.stored, identities.commanded]) {
    const found = await find(key.recipient, signal);
    tried.push(found);
    try {
      return await found.decrypter.decrypt(file);
    } catch (error) {
      if (!(error instanceof NoIdentityMatches)) throw damaged(key, error);
      stanzaTypes = error.stanzaTypes;
    }
  }
  throw noneOpens(key, stanzaTypes, tried);
}

async function decodeArmor(key: KeyOf<"age">, enc: string): Promise<Uint8Array> {
  const { armor } = await import("age-encryption");
  try {
    if (enc.length > longestFile) throw new Error(`it has ${enc.length} characters`);
    return armor.decode(enc);
  } catch (error) {
    throw damaged(key, error);
  }
}

function damaged(key: KeyOf<"age">, error: unknown): SopsError {
  return new SopsError(
    "couldNotRetrieveKey",
    `what the file holds for ${describeKey(key)} is damaged: ${messageOf(error)}`,
    {
      fix: "restore the file from version control",
      cause: error,
    },
  );
}

function noneOpens(key: KeyOf<"age">, stanzaTypes: string[], tried: FoundIdentities[]): SopsError {
  const count = tried.reduce((sum, found) => sum + found.count, 0);
  const problems = tried.flatMap((found) => found.problems);
  const empty = tried.flatMap((found) => found.empty);
  const reason =
    unusable(stanzaTypes) ??
    (count === 0 ? "there is no age identity" : `none of the ${count} age identities here is for it`);
  return new SopsError("couldNotRetrieveKey", [`${describeKey(key)}: ${reason}`, ...problems].join("; "), {
    code: "permission",
    fix: `set SOPS_AGE_KEY_FILE to the file with its identity${empty.length === 0 ? "" : ` (nothing was found in ${empty.join(", ")})`}`,
  });
}

const knownStanzas = new Set(["X25519", "mlkem768x25519", "ssh-ed25519", "ssh-rsa"]);

/** Why no identity could ever open a file for recipients of these types. */
function unusable(stanzaTypes: string[]): string | undefined {
  if (stanzaTypes.includes("scrypt"))
    return "it is protected by a passphrase, which no key of a SOPS file is";
  const unknown = stanzaTypes.filter((type) => !knownStanzas.has(type));
  if (unknown.length < stanzaTypes.length || unknown[0] === undefined) return undefined;
  return `it is for a recipient of the unknown type ${printable(unknown[0])}`;
}
