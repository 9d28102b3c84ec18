import { exitCodes } from "@kws/base/errors";
import { findStack } from "@kws/platform/project/workspace";
import { choose, statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "how a stack's services are",
  description: "How a stack's services are. Exits with 3 where one is not ready.",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
  ],
  examples: ["kws stack status shop", "kws stack status shop -o json"],
  async run({ args: [name] }, ctx) {
    const project = name === undefined ? await ctx.findProject() : undefined;
    const stack = name ?? (project === undefined ? undefined : findStack(project).name);
    const services = await statuses(ctx, await choose(ctx, [], stack));
    const ready = services.every((service) => service.state === "ready");
    return {
      data: { stack: stack ?? services[0]?.stack, state: ready ? "ready" : "degraded", services },
      table: serviceTable(services, ctx.style, ctx.clock()),
      exitCode: ready ? exitCodes.ok : exitCodes.degraded,
    };
  },
});
