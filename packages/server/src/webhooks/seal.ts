/**
 * Secrets that the server has to use again, such as those of webhooks: AES-256-GCM with a key that is not in the database, so that
 * a copy of the database alone opens nothing.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { UserError } from "@kws/base/errors";

const version = "v1";
const nonceLength = 12;
const tagLength = 16;

/**
 * With the newest of the keys. `place` is where the secret is kept, such as `webhook/ID`: a value that is moved to another place does not open there.
 * Throws a `config` `UserError` where there is no key.
 */
export function seal(secret: string, place: string, [key]: readonly Uint8Array[]): string {
  if (key === undefined) {
    throw new UserError("the server has no key to keep secrets with", {
      code: "config",
      fix: "Set KWS_SERVER_KEY to the output of `openssl rand -base64 32`, the same for all servers on the database.",
    });
  }
  const nonce = randomBytes(nonceLength);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(place));
  const sealed = Buffer.concat([nonce, cipher.update(secret, "utf8"), cipher.final(), cipher.getAuthTag()]);
  return `${version}.${sealed.toString("base64url")}`;
}

/** With the first of the keys that fits, while one replaces another. Throws a `config` `UserError` where none does. */
export function unseal(sealed: string, place: string, keys: readonly Uint8Array[]): string {
  const [found, text = ""] = sealed.split(".");
  const bytes = Buffer.from(text, "base64url");
  if (found === version && bytes.length >= nonceLength + tagLength) {
    for (const key of keys) {
      const secret = openWith(key, bytes, place);
      if (secret !== undefined) return secret;
    }
  }
  throw new UserError(`the secret of ${place} was sealed with another key than this server has`, {
    code: "config",
    fix: "Give the server the key that it had, or set the secret anew.",
  });
}

function openWith(key: Uint8Array, bytes: Buffer, place: string): string | undefined {
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, nonceLength))
    .setAAD(Buffer.from(place))
    .setAuthTag(bytes.subarray(-tagLength));
  const start = decipher.update(bytes.subarray(nonceLength, -tagLength));
  try {
    return Buffer.concat([start, decipher.final()]).toString("utf8");
  } catch {
    // Another key, another place, or other bytes: GCM does not tell which.
    return undefined;
  }
}
