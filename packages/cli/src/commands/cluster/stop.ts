import { defineCommand } from "../../command.ts";
import { endKeepers } from "../../keeping.ts";

export const command = defineCommand({
  summary: "stop the cluster and keep its data",
  args: [{ name: "name", description: "the cluster's name", completes: "clusters" }],
  examples: ["kws cluster stop"],
  async run({ args: [name] }, ctx) {
    const provider = await ctx.provider(name);
    await endKeepers(ctx, provider);
    const stopped = await ctx.steps().run({ id: "stop", title: "stop the cluster" }, () => provider.stop());
    const status = await provider.status();
    return {
      data: status,
      text: stopped
        ? `The cluster ${status.name} is stopped; its data is kept.`
        : `The cluster ${status.name} did not run.`,
    };
  },
});
