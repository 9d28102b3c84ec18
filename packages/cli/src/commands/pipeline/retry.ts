import { retryRun } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { follow, runArgument, runResult, runTable } from "../../runs.ts";
import { serverClient } from "../../server.ts";

export const command = defineCommand({
  summary: "run the same pipeline on the same commit again",
  description:
    "Makes a new run of a run's commit. With --from, what passed before and does not need the step is taken from that run, with its " +
    "artefacts; datastores start anew.",
  args: [runArgument],
  options: {
    from: {
      type: "string",
      value: "step",
      description: "the first step to do again; all of them unless given",
    },
    follow: { type: "boolean", short: "F", description: "show what happens until it has ended" },
  },
  examples: ["kws pipeline retry orders-1f2e3d4c5 --from test --follow"],
  async run({ args: [run = ""], options }, ctx) {
    const client = await serverClient(ctx);
    const retried = await client.call(retryRun, { params: { run }, body: { from: options.from } });
    if (options.follow !== true) return { data: retried, table: runTable([retried], ctx.style, ctx.clock()) };
    const ended = await follow(ctx, client, retried.run);
    return runResult([ended], ended, ctx.style);
  },
});
