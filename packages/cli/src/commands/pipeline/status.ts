import { getRun } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { follow, runArgument, runResult } from "../../runs.ts";
import { serverClient } from "../../server.ts";

export const command = defineCommand({
  summary: "a run on the server with its steps",
  description:
    "The steps of a run, and how far they are. Exit code 1 where it has ended, and did not succeed.",
  args: [runArgument],
  options: { follow: { type: "boolean", short: "F", description: "show what happens until it has ended" } },
  examples: ["kws pipeline status orders-1f2e3d4c5", "kws pipeline status orders-1f2e3d4c5 --follow"],
  async run({ args: [run = ""], options }, ctx) {
    const client = await serverClient(ctx);
    const found = await client.call(getRun, { params: { run } });
    const shown = options.follow === true ? await follow(ctx, client, run) : found;
    return runResult([shown], shown, ctx.style);
  },
});
