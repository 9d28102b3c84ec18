import { UserError } from "@kws/base/errors";
import { resetEmbedded } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "remove the cluster with everything that it stored",
  args: [{ name: "name", description: "the cluster's name; `default` unless given", completes: "clusters" }],
  examples: ["kws cluster reset", "kws cluster reset second --yes"],
  async run({ args: [name] }, ctx) {
    const provider = await ctx.provider(name);
    if (provider.name !== "embedded") {
      throw new UserError("kws resets only clusters that it made", {
        code: "usage",
        fix: "Leave out --context.",
      });
    }
    const status = await provider.status();
    if (!(await ctx.confirm(`Remove the cluster ${status.name} with all its data?`)))
      return { text: "Nothing was changed." };
    const existed = await ctx
      .steps()
      .run({ id: "reset", title: `remove the cluster ${status.name}` }, () =>
        resetEmbedded({ name: status.name, home: ctx.locations.data }),
      );
    const text = existed ? `The cluster ${status.name} is gone.` : `There was no cluster ${status.name}.`;
    return { data: { name: status.name, removed: existed }, text };
  },
});
