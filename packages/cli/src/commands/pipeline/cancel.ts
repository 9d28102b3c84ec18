import { cancelRun } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { runArgument, runTable, whyOption } from "../../runs.ts";
import { serverClient } from "../../server.ts";

export const command = defineCommand({
  summary: "end a run on the server",
  description: "Ends a run that is queued or at work; its namespace goes with all that is in it.",
  args: [runArgument],
  options: { why: whyOption },
  examples: ['kws pipeline cancel orders-1f2e3d4c5 --why "wrong branch"'],
  async run({ args: [run = ""], options: { why } }, ctx) {
    const client = await serverClient(ctx);
    const cancelled = await client.call(cancelRun, { params: { run }, body: { why } });
    return { data: cancelled, table: runTable([cancelled], ctx.style, ctx.clock()) };
  },
});
