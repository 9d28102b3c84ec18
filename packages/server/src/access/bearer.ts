/**
 * Bearer tokens: `kws_<id>_<secret>`. The id finds the row, and the row holds the SHA-256 of the secret alone: the secret
 * has 256 random bits, so a slow hash would protect nothing more. The prefix lets secret scanners know one when they see it.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

export interface NewToken {
  id: string;
  /** What the owner gets, once. */
  text: string;
  /** What the database keeps, 32 bytes. */
  hash: Buffer;
}

export function newToken(random: (bytes: number) => Buffer = randomBytes): NewToken {
  const id = random(9).toString("base64url").replaceAll("_", "-");
  const secret = random(32).toString("base64url");
  return { id, text: `kws_${id}_${secret}`, hash: hashOf(secret) };
}

/** Undefined for what is not the text of a token. */
export function parseToken(text: string): { id: string; hash: Buffer } | undefined {
  const [, id, secret] = /^kws_([A-Za-z0-9-]{12})_([\w-]{43})$/.exec(text) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, hash: hashOf(secret) };
}

export function isSameHash(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
