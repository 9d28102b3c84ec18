import { decideRun } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { runArgument, runResult, whyOption } from "../../runs.ts";
import { serverClient } from "../../server.ts";

export const command = defineCommand({
  summary: "refuse a step that waits for approval",
  args: [runArgument, { name: "step", description: "the step that waits", required: true }],
  options: { why: whyOption },
  examples: ["kws pipeline reject orders-1f2e3d4c5 publish"],
  async run({ args: [run = "", job = ""], options: { why } }, ctx) {
    const client = await serverClient(ctx);
    const decided = await client.call(decideRun, { params: { run, job }, body: { approved: false, why } });
    return { ...runResult([decided], decided, ctx.style), exitCode: 0 };
  },
});
