import { listStacks } from "@kws/platform/stacks/list";
import { defineCommand } from "../../command.ts";
import { age, stateColor } from "../../tables.ts";

export const command = defineCommand({
  summary: "the stacks that are installed, wholly or in part",
  examples: ["kws stack list", "kws stack list -o json"],
  async run(_input, ctx) {
    const { client } = await ctx.connect();
    const { namespace } = ctx.globals;
    const all = await listStacks(client, ctx.signal);
    const stacks = all.filter((one) => namespace === undefined || one.namespace === namespace);
    const rows = stacks.map((one) => [
      one.stack,
      one.namespace,
      one.workspace,
      stateColor(ctx.style, one.state),
      `${one.ready}/${one.services}`,
      age(one.updatedAt, ctx.clock()),
      one.missing.join(", "),
    ]);
    return {
      data: stacks,
      table: { columns: ["STACK", "NAMESPACE", "WORKSPACE", "STATE", "READY", "UPDATED", "MISSING"], rows },
    };
  },
});
