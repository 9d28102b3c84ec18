/**
 * The keys that secrets in the database are sealed with. A server with a database of its own makes one beside it; servers that share
 * a database have to share the key, so that there it is given.
 */
import { UserError } from "@kws/base/errors";
import { localToken } from "../access/local-token.ts";
import type { Config } from "../config.ts";

/** The newest first; none where the database is not the server's own and no key was given. */
export async function serverKeys(config: Config, file: string): Promise<Uint8Array[]> {
  const given = config.key;
  if (given !== undefined) return given.split(",").map((text) => parseKey(text.trim()));
  if (config.databaseUrl !== undefined) return [];
  // 32 random bytes in base64url, as the token is.
  return [parseKey(await localToken(file))];
}

function parseKey(text: string): Uint8Array {
  const bytes = Buffer.from(text, "base64");
  if (/^[\w+/-]+=*$/.test(text) && bytes.length === 32) return bytes;
  throw new UserError("the server's key is not 32 bytes in base64", {
    code: "config",
    fix: "Set KWS_SERVER_KEY to the output of `openssl rand -base64 32`.",
  });
}
