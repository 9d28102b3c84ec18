import { defineCommand } from "../../command.ts";
import { endKeepers } from "../../keeping.ts";

export const command = defineCommand({
  summary: "remove the cluster with everything that it stored",
  description:
    "Removes the cluster with everything that it stored. One that kws did not make is removed only where its name is given.",
  args: [{ name: "name", description: "the cluster's name", completes: "clusters" }],
  examples: ["kws cluster reset", "kws cluster reset second --yes", "kws cluster reset dev --provider k3d"],
  async run({ args: [name] }, ctx) {
    const provider = await ctx.provider(name);
    const status = await provider.status();
    const foreign = (name ?? ctx.globals.cluster) === status.name;
    // What will be refused needs no question.
    const asks = status.managed || foreign;
    if (
      asks &&
      !(await ctx.confirm(`Remove the ${status.provider} cluster ${status.name} with all its data?`))
    )
      return { text: "Nothing was changed." };
    if (asks) await endKeepers(ctx, provider);
    const existed = await ctx
      .steps()
      .run({ id: "reset", title: `remove the cluster ${status.name}` }, () => provider.reset({ foreign }));
    const text = existed ? `The cluster ${status.name} is gone.` : `There was no cluster ${status.name}.`;
    return { data: { name: status.name, removed: existed }, text };
  },
});
