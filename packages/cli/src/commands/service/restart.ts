import { restartService } from "@kws/platform/services/restart";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "replace a service's pods, one after another",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: { stack: stackOption },
  examples: ["kws service restart orders", "kws service restart orders payments --stack shop"],
  async run({ args, options }, ctx) {
    const { connection, releases } = await choose(ctx, args, options.stack);
    const now = new Date(ctx.clock()).toISOString();
    const data: { service: string; workloads: string[] }[] = [];
    for (const release of releases) {
      data.push({
        service: release.service,
        workloads: await restartService(connection.client, release, now),
      });
    }
    return {
      data,
      text: data.map((one) => `${one.service}: ${one.workloads.join(", ")} restarting`).join("\n"),
    };
  },
});
