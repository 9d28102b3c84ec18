/**
 * From a request to who makes it: the administrator's token, a token of the database as a bearer, or the same in a browser's
 * cookie. Whether whoever it is may do what they ask is not decided here.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { ApiError } from "@kws/api/errors";
import type { ServerContext } from "../context.ts";
import { createLimiter } from "../http/limits.ts";
import type { Actor } from "./actor.ts";
import { readCookie, sessionCookie } from "./cookies.ts";
import { findActor } from "./tokens.ts";

export interface Caller {
  method: string;
  headers: IncomingHttpHeaders;
  ip: string;
}

export type Authenticate = (caller: Caller) => Promise<Actor>;

/** Whoever has the administrator's token. */
const local: Actor = {
  kind: "local",
  id: "local",
  name: "local",
  teams: [],
  grants: [{ role: "admin", scope: {} }],
};

/** Failures from one address in a minute; who has a right token is never refused for another's wrong ones. */
const failuresPerMinute = 30;

export function authentication(
  ctx: Pick<ServerContext, "db" | "config" | "now">,
  localToken: string,
): Authenticate {
  const expected = digest(localToken);
  const failures = createLimiter(failuresPerMinute, () => ctx.now().getTime());
  return async (caller) => {
    const { text, fromCookie } = tokenOf(caller, ctx.config.publicUrl);
    if (text !== undefined && !fromCookie && timingSafeEqual(digest(text), expected)) return local;
    const found = text === undefined ? "missing" : await findActor(ctx, text, ctx.now());
    if (typeof found !== "string") {
      if (fromCookie) refuseOtherSites(caller, ctx.config.publicUrl);
      return found;
    }
    if (found !== "missing") failures.take(caller.ip);
    throw new ApiError("unauthenticated", reasons[found], {
      fix: "Sign in with `kws login`, or set KWS_TOKEN to a token of this server.",
    });
  };
}

const reasons = {
  missing: "the request has no token",
  unknown: "the token is not known here",
  expired: "the token has expired",
  revoked: "the token was revoked",
  disabled: "the user of the token is disabled",
} as const;

function tokenOf(
  { headers }: Caller,
  publicUrl: string | undefined,
): { text: string | undefined; fromCookie: boolean } {
  const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
  if (bearer !== undefined) return { text: bearer, fromCookie: false };
  return { text: readCookie(headers.cookie, sessionCookie(publicUrl)), fromCookie: true };
}

/** A browser sends cookies with what other sites make it send, too, but says which site that is. */
export function refuseOtherSites({ method, headers }: Caller, publicUrl: string | undefined): void {
  if (method === "GET" || method === "HEAD") return;
  if (publicUrl !== undefined && headers.origin === new URL(publicUrl).origin) return;
  throw new ApiError("permission", "a request with a session has to come from the server's own pages");
}

/** Of the same length, whatever was given. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
