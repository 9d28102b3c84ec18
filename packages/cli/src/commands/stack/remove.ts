import { UserError } from "@kws/base/errors";
import { findStack } from "@kws/platform/project/workspace";
import { defineCommand } from "../../command.ts";
import { findStackObjects } from "@kws/platform/stacks/remove";
import { remove } from "../../starting.ts";

export const command = defineCommand({
  summary: "remove a stack with its data",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
  ],
  options: {
    "keep-data": { type: "boolean", description: "keep the volumes" },
    "dry-run": { type: "boolean", description: "tell what would be removed" },
    timeout: { type: "duration", value: "duration", description: "for one service to end; 5m unless given" },
  },
  examples: ["kws stack remove shop", "kws stack remove shop --keep-data --yes"],
  async run({ args: [name], options }, ctx) {
    const project = await ctx.findProject();
    const stack = name ?? (project === undefined ? undefined : findStack(project).name);
    if (stack === undefined)
      throw new UserError("no stack was named", { code: "usage", fix: "See `kws stack list`." });
    const { namespace } = ctx.globals;
    const keepData = options["keep-data"] ?? false;
    const provider = await ctx.provider();
    if (options["dry-run"] === true) {
      const { client } = await ctx.connect(provider);
      const found = await findStackObjects(client, { stack, namespace, keepData, signal: ctx.signal });
      const lines = Object.entries(found).map(([kind, names]) => `${kind}: ${names.join(", ") || "none"}`);
      return { data: { stack, ...found }, text: `${lines.join("\n")}\nNothing was changed.` };
    }
    const what = keepData ? "and keep its volumes" : "with all its data";
    if (!(await ctx.confirm(`Remove the stack ${stack} ${what}?`))) return { text: "Nothing was changed." };
    const removed = await remove(ctx, {
      stack,
      keepData,
      provider,
      ...(namespace === undefined ? {} : { namespace }),
      ...(project === undefined ? {} : { project }),
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
    });
    return { data: removed, text: `The stack ${stack} is gone${keepData ? "; its volumes are kept" : ""}.` };
  },
});
