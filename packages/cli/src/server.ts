/** The server as commands reach it: the one of this machine, or the one that KWS_SERVER_URL and KWS_TOKEN name. */
import type { Client } from "@kws/api/client";
import { UserError } from "@kws/base/errors";
import type { Context } from "./context.ts";

export async function serverClient({ env, locations, signal }: Context): Promise<Client> {
  const [{ createClient }, { findRunning, serverFolder }, { readLocalToken }] = await Promise.all([
    import("@kws/api/client"),
    import("@kws/server/state"),
    import("@kws/server/lifecycle"),
  ]);
  const folder = serverFolder(locations.data);
  const url = env["KWS_SERVER_URL"] ?? (await findRunning(folder))?.url;
  if (url === undefined) {
    throw new UserError("no server runs on this machine", {
      code: "not-found",
      fix: "Start one with `kws server start`, or set KWS_SERVER_URL and KWS_TOKEN.",
    });
  }
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    throw new UserError(`KWS_SERVER_URL is "${url}", and no http:// or https:// address`, { code: "config" });
  }
  // The local token is for the local server alone.
  const local = env["KWS_SERVER_URL"] === undefined ? await readLocalToken(folder) : undefined;
  const token = env["KWS_TOKEN"] ?? local;
  if (token === undefined) {
    throw new UserError(`there is no token for ${url}`, { code: "permission", fix: "Set KWS_TOKEN." });
  }
  return createClient({ url, token, signal });
}
