import { choose, stackOption, statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "the services that are installed",
  options: { stack: stackOption },
  examples: ["kws service list", "kws service list --stack shop -o json"],
  async run({ options }, ctx) {
    const services = await statuses(ctx, await choose(ctx, [], options.stack));
    return { data: services, table: serviceTable(services, ctx.style, ctx.clock()) };
  },
});
