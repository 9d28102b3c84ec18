/** From a request's token to who it is. The token that the server made for this machine is the one method so far. */
import { createHash, timingSafeEqual } from "node:crypto";
import { ApiError } from "@kws/api/errors";
import type { Actor } from "./actor.ts";

/** Of the machine. */
const owner: Actor = { id: "local", name: "local", kind: "local", grants: [{ role: "admin", scope: {} }] };

export type Authenticate = (authorization: string | undefined) => Promise<Actor>;

export function localAuthentication(token: string): Authenticate {
  const expected = digest(token);
  return (authorization) => {
    const [, given] = /^Bearer +(\S+)$/i.exec(authorization ?? "") ?? [];
    if (given === undefined || !timingSafeEqual(digest(given), expected)) {
      const what = given === undefined ? "the request has no token" : "the token is not known here";
      return Promise.reject(
        new ApiError("unauthenticated", what, { fix: "Set KWS_TOKEN to a token of this server." }),
      );
    }
    return Promise.resolve(owner);
  };
}

/** Of the same length, whatever was given. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
