/** The server as commands reach it: the one that KWS_SERVER_URL and KWS_TOKEN name, the one that the person has signed in
 * to last, or the one of this machine. */
import type { Client } from "@kws/api/client";
import { UserError } from "@kws/base/errors";
import type { Context } from "./context.ts";

export async function serverClient(ctx: Context): Promise<Client> {
  const { createClient } = await import("@kws/api/client");
  return createClient({ ...(await findServer(ctx)), signal: ctx.signal });
}

export interface ServerAddress {
  /** As it was given, without a path. */
  url: string;
  token: string;
}

export async function findServer({ env, locations }: Context): Promise<ServerAddress> {
  const [{ findRunning, serverFolder }, { readLocalToken }, { readLogins }] = await Promise.all([
    import("@kws/server/state"),
    import("@kws/server/lifecycle"),
    import("./logins.ts"),
  ]);
  const folder = serverFolder(locations.data);
  const { current, tokens } = await readLogins(locations.data);
  const running = (await findRunning(folder))?.url;
  const url = env["KWS_SERVER_URL"] ?? current ?? running;
  if (url === undefined) {
    throw new UserError("no server runs on this machine", {
      code: "not-found",
      fix: "Start one with `kws server start`, or sign in to another with `kws login URL`.",
    });
  }
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    throw new UserError(`KWS_SERVER_URL is "${url}", and no http:// or https:// address`, { code: "config" });
  }
  // Every token is for its own server alone.
  const local = url === running ? await readLocalToken(folder) : undefined;
  const token = env["KWS_TOKEN"] ?? tokens[new URL(url).origin] ?? local;
  if (token === undefined) {
    throw new UserError(`there is no token for ${url}`, {
      code: "permission",
      fix: `Sign in with \`kws login ${url}\`, or set KWS_TOKEN.`,
    });
  }
  return { url, token };
}
