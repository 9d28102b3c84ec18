import type { Client } from "@kws/api/client";
import { getMe } from "@kws/api/me";
import { beginDeviceSignIn, pollDeviceSignIn } from "@kws/api/sign-in";
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import { openBrowser } from "../browser.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { addLogin, readLogins } from "../logins.ts";
import { givenText } from "../secrets.ts";
import { printable } from "../style.ts";

export const command = defineCommand({
  summary: "sign in to a server, which commands use from then on",
  description:
    "Shows a code and an address, opens the address where there is a browser, and waits until you have agreed there. The token that " +
    "the server then gives is kept for you alone, and sent to that server alone.",
  args: [{ name: "url", description: "the server's address; the one in use unless given" }],
  options: {
    token: {
      type: "string",
      value: "source",
      choices: ["-"],
      description: "`-` takes a token from standard input, such as a service token, and asks nobody",
    },
  },
  examples: ["kws login https://kws.example.com", "kws login https://kws.example.com --token - < token.txt"],
  async run({ args: [given], options }, ctx) {
    const { current } = await readLogins(ctx.locations.data);
    const url = addressOf(given ?? ctx.env["KWS_SERVER_URL"] ?? current);
    const { createClient } = await import("@kws/api/client");
    const client = (token: string) => createClient({ url, token, signal: ctx.signal });
    const token = options.token === undefined ? await askSomebody(client(""), ctx) : await givenText(ctx);
    const me = await client(token).call(getMe);
    await addLogin(ctx.locations.data, url, token);
    return { data: { server: url, ...me }, text: `Signed in to ${url} as ${printable(me.name)}.` };
  },
});

/** Tokens travel with every request: in the open on this machine alone. */
function addressOf(given: string | undefined): string {
  if (given === undefined) {
    throw new UserError("the server's address is needed", {
      code: "usage",
      fix: "Give it: `kws login https://kws.example.com`. The server of this machine needs no sign-in.",
    });
  }
  const url = URL.canParse(given) ? new URL(given) : undefined;
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(url?.hostname ?? "");
  if (url?.protocol === "https:" || (url?.protocol === "http:" && isLocal)) return url.origin;
  throw new UserError(`"${given}" is no https:// address of a server`, {
    code: "usage",
    fix: "Give one such as https://kws.example.com; http:// is for this machine alone.",
  });
}

/** The token that the server gives when somebody has agreed. */
async function askSomebody(client: Client, ctx: Context): Promise<string> {
  const begun = await client.call(beginDeviceSignIn);
  const { handle, userCode, verificationUri, verificationUriComplete = verificationUri } = begun;
  const isPage = URL.canParse(verificationUriComplete) && /^https?:/.test(verificationUriComplete);
  if (ctx.interactive && isPage) await openBrowser(ctx, verificationUriComplete);
  ctx.stderr.write(`${printable(verificationUri)}, with the code ${printable(userCode)}\n`);
  const deadline = ctx.now() + begun.expiresInSeconds * 1000;
  for (let seconds = begun.intervalSeconds; ctx.now() < deadline;) {
    await sleep(seconds * 1000, ctx.signal);
    const { state, token } = await client.call(pollDeviceSignIn, { body: { handle } });
    if (token !== undefined) return token;
    if (state === "slow-down") seconds += 5;
  }
  throw new UserError("nobody has agreed in time", { code: "timeout", fix: "Sign in again." });
}
