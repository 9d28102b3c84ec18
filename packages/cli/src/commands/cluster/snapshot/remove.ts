import { UserError } from "@kws/base/errors";
import { removeSnapshot } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../../command.ts";

export const command = defineCommand({
  summary: "remove a snapshot",
  args: [{ name: "name", description: "the snapshot's name", required: true }],
  examples: ["kws cluster snapshot remove seeded"],
  async run({ args: [name = ""] }, ctx) {
    if (!(await ctx.confirm(`Remove the snapshot ${name}?`))) return { text: "Nothing was changed." };
    if (!(await removeSnapshot(ctx.locations.data, name))) {
      throw new UserError(`there is no snapshot "${name}"`, {
        code: "not-found",
        fix: "`kws cluster snapshot list` tells the snapshots there are.",
      });
    }
    return { data: { name, removed: true }, text: `The snapshot ${name} is gone.` };
  },
});
