/** The addresses that a browser visits to sign in and out. They answer with redirects and cookies, so they are no routes of the API. */
import { ApiError } from "@kws/api/errors";
import { UserError } from "@kws/base/errors";
import type { FastifyInstance } from "fastify";
import type { ServerContext } from "../context.ts";
import { refuseOtherSites } from "./authenticate.ts";
import { readCookie, sessionCookie, signInCookie, writeCookie } from "./cookies.ts";
import { endSession } from "./endpoints.ts";
import { beginBrowser, finishBrowser } from "./sign-in.ts";
import { findActor } from "./tokens.ts";

export function addBrowserSignIn(app: FastifyInstance, ctx: ServerContext): void {
  const { publicUrl } = ctx.config;
  const schema = { hide: true };

  app.get("/auth/login", { schema }, async (request, reply) => {
    const { return_to: wanted } = request.query as { return_to?: unknown };
    const returnTo = pathOf(typeof wanted === "string" ? wanted : "/");
    const { url, handle, maxAgeSeconds } = await beginBrowser(
      ctx,
      redirectUri(publicUrl),
      returnTo,
      request.ip,
    );
    return reply
      .header("set-cookie", writeCookie(signInCookie(publicUrl), handle, maxAgeSeconds, publicUrl))
      .header("cache-control", "no-store")
      .redirect(url);
  });

  app.get("/auth/callback", { schema }, async (request, reply) => {
    const handle = readCookie(request.headers.cookie, signInCookie(publicUrl));
    if (handle === undefined) {
      throw new ApiError("permission", "this browser has not begun to sign in", { fix: "Sign in again." });
    }
    const callback = new URL(redirectUri(publicUrl));
    callback.search = new URL(request.url, callback).search;
    const { token, returnTo, maxAgeSeconds } = await finishBrowser(ctx, handle, callback);
    return (
      reply
        .header("set-cookie", [
          writeCookie(signInCookie(publicUrl), "", 0, publicUrl),
          writeCookie(sessionCookie(publicUrl), token, maxAgeSeconds, publicUrl),
        ])
        .header("cache-control", "no-store")
        // Its address holds a code, which no other page is to be told.
        .header("referrer-policy", "no-referrer")
        .redirect(returnTo)
    );
  });

  app.post("/auth/logout", { schema }, async (request, reply) => {
    refuseOtherSites(request, publicUrl);
    const text = readCookie(request.headers.cookie, sessionCookie(publicUrl));
    const actor = text === undefined ? "unknown" : await findActor(ctx, text, ctx.now());
    // Signed out already is signed out.
    if (typeof actor !== "string") await endSession(actor, ctx);
    return reply
      .header("set-cookie", writeCookie(sessionCookie(publicUrl), "", 0, publicUrl))
      .code(204)
      .send();
  });
}

function redirectUri(publicUrl: string | undefined): string {
  if (publicUrl !== undefined) return new URL("/auth/callback", publicUrl).href;
  throw new UserError("this server does not know its own address, so browsers cannot sign in", {
    code: "not-found",
    fix: "Set KWS_SERVER_PUBLIC_URL, and register its /auth/callback with the identity provider.",
  });
}

/** A path of this server, and nothing that a browser takes for an address elsewhere, such as `//host` or `/\host`. */
export function pathOf(wanted: string): string {
  const here = "http://here.invalid";
  const isPath = /^\/(?![/\\])[\x21-\x7e]*$/.test(wanted) && new URL(wanted, here).origin === here;
  if (isPath) return wanted;
  throw new ApiError("usage", "return_to is not a path of this server", { at: "querystring.return_to" });
}
