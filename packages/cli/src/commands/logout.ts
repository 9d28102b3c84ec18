import { signOut } from "@kws/api/sign-in";
import { ApiError } from "@kws/api/errors";
import { UserError } from "@kws/base/errors";
import { defineCommand } from "../command.ts";
import { readLogins, removeLogin } from "../logins.ts";

export const command = defineCommand({
  summary: "sign out of a server",
  description:
    "Ends the token at the server and forgets it here. Commands then use the server of this machine. A service token is only " +
    "forgotten: others may use it.",
  args: [{ name: "url", description: "the server's address; the one in use unless given" }],
  examples: ["kws logout"],
  async run({ args: [given] }, { locations, signal }) {
    const { current, tokens } = await readLogins(locations.data);
    const url = given !== undefined && URL.canParse(given) ? new URL(given).origin : (given ?? current);
    const token = url === undefined ? undefined : tokens[url];
    if (url === undefined || token === undefined) {
      throw new UserError(url === undefined ? "you are not signed in" : `you are not signed in to ${url}`, {
        code: "not-found",
      });
    }
    const { createClient } = await import("@kws/api/client");
    // Forgotten here, whatever the server says.
    await removeLogin(locations.data, url);
    const ended = await createClient({ url, token, signal })
      .call(signOut)
      .then(() => true, isNoLogin);
    return { data: { server: url, ended }, text: `Signed out of ${url}.` };
  },
});

/** It has ended already, or is a service token; anything else leaves a token that counts, which is to be known. */
function isNoLogin(error: unknown): false {
  if (error instanceof ApiError && ["unauthenticated", "usage"].includes(error.reason)) return false;
  throw error;
}
