/**
 * age keys: X25519 recipients, hybrid post-quantum ones (`age1pq1…`), SSH public keys, and plugins through the `age` program.
 * Every recipient has an armored file of its own around the data key, as sops writes it (its `age/keysource.go`); the file's
 * format is https://age-encryption.org/v1.
 */
import { messageOf, type UserErrorOptions } from "@kws/base/errors";
import { SopsError } from "../errors.ts";
import {
  type FoundIdentities,
  type Identities,
  NoIdentityMatches,
  openIdentities,
} from "./age-identities.ts";
import { decryptWithPlugins, encryptWithPlugin, pluginOf } from "./age-plugin.ts";
import { sshRecipient } from "./age-ssh.ts";
import { describeKey, type KeyOf, type KeyService, type KeyWorld, keyOf, printable } from "./key.ts";

/** Far above what any recipient needs for a data key, and far below what would make parsing slow. */
const longestFile = 64 * 1024;

export function openAge(world: KeyWorld): KeyService {
  const identities = openIdentities(world);
  return {
    async wrap(key, data, call) {
      const trimmed = { ...keyOf("age", key), recipient: keyOf("age", key).recipient.trim() };
      return { key: trimmed, enc: await encrypt(world, trimmed, data, call.signal) };
    },
    async unwrap(wrapped, call) {
      return await decrypt(world, identities, keyOf("age", wrapped.key), wrapped.enc, call.signal);
    },
  };
}

async function encrypt(
  world: KeyWorld,
  key: KeyOf<"age">,
  data: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<string> {
  signal?.throwIfAborted();
  const { recipient } = key;
  try {
    if (pluginOf(recipient) !== undefined) return await encryptWithPlugin(world, recipient, data, signal);
    const { Encrypter, armor } = await import("age-encryption");
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient.startsWith("ssh-") ? await sshRecipient(recipient) : recipient);
    return armor.encode(await encrypter.encrypt(data));
  } catch (error) {
    signal?.throwIfAborted();
    const message = `${describeKey(key)} cannot be encrypted for: ${printable(messageOf(error))}`;
    throw new SopsError("errorGeneric", message, { ...recipientFix(recipient), cause: error });
  }
}

function recipientFix(recipient: string): Pick<UserErrorOptions, "code" | "fix"> {
  const plugin = pluginOf(recipient);
  if (plugin !== undefined) return { code: "tool-missing", fix: `Install age and age-plugin-${plugin}.` };
  const kinds =
    "the public key that age-keygen prints (age1…), or an SSH public key (ssh-ed25519 …, ssh-rsa …)";
  return { code: "config", fix: `Name ${kinds}.` };
}

async function decrypt(
  world: KeyWorld,
  identities: Identities,
  key: KeyOf<"age">,
  enc: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
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
  const plugins = tried.flatMap((found) => found.plugins);
  if (plugins.length === 0) throw noneOpens(key, stanzaTypes, tried, []);
  try {
    return await decryptWithPlugins(world, plugins, file, signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw noneOpens(key, stanzaTypes, tried, [`the plugins' identities: ${messageOf(error)}`]);
  }
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
  const message = `what the file holds for ${describeKey(key)} is damaged: ${printable(messageOf(error))}`;
  return new SopsError("couldNotRetrieveKey", message, {
    fix: "Restore the file from version control.",
    cause: error,
  });
}

function noneOpens(
  key: KeyOf<"age">,
  stanzaTypes: string[],
  tried: FoundIdentities[],
  pluginProblems: string[],
): SopsError {
  const count = tried.reduce((sum, found) => sum + found.count, 0);
  const problems = [...tried.flatMap((found) => found.problems), ...pluginProblems];
  const empty = tried.flatMap((found) => found.empty);
  const message = [`${describeKey(key)}: ${whyClosed(stanzaTypes, count)}`, ...problems].join("; ");
  const searched = empty.length === 0 ? "" : ` (nothing was found in ${empty.join(", ")})`;
  return new SopsError("couldNotRetrieveKey", message, {
    code: "permission",
    fix: `Set SOPS_AGE_KEY_FILE to the file with its identity${searched}.`,
  });
}

const knownStanzas = new Set(["X25519", "mlkem768x25519", "ssh-ed25519", "ssh-rsa"]);

function whyClosed(stanzaTypes: string[], count: number): string {
  if (stanzaTypes.includes("scrypt"))
    return "it is protected by a passphrase, which no key of a SOPS file is";
  const unknown = stanzaTypes.find((type) => !knownStanzas.has(type));
  if (unknown !== undefined) return `it needs a plugin's identity, for ${printable(unknown)}`;
  if (count === 0) return "there is no age identity";
  return count === 1
    ? "the age identity here is not for it"
    : `none of the ${count} age identities here is for it`;
}
