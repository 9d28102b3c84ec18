import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { readPush, readTarget, tell } from "@kws/server/webhooks/in/hook";
import { defineCommand } from "../../../command.ts";

/** The person who pushed waits for it. */
const timeoutMs = 10_000;

export const command = defineCommand({
  summary: "tell a server of a push, for git",
  description:
    "Reads the lines that git writes to a post-receive hook, and sends them, signed, as `kws server hook install` set it up.",
  args: [{ name: "config", description: "the file that was written beside the hook", required: true }],
  examples: ["kws server hook send hooks/kws-hook.json"],
  async run({ args: [config = ""] }, ctx) {
    const target = await readTarget(resolve(ctx.cwd, config));
    // Git's own server for HTTP says who has logged in; over SSH it is the account.
    const author = ctx.env["REMOTE_USER"] ?? ctx.holder.user;
    const push = readPush(target, author, await text(ctx.stdin));
    await tell(target, push, { id: `msg_${randomUUID()}`, now: ctx.clock(), timeoutMs });
    return { data: { endpoint: target.endpoint, refs: push.refs.map(({ ref }) => ref) } };
  },
});
