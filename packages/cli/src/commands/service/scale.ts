import { UserError } from "@kws/base/errors";
import { scaleService } from "@kws/platform/services/scale";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { readyAgain } from "../../readiness.ts";
import { settleHolds } from "../../holding.ts";

export const command = defineCommand({
  summary: "change how many replicas a service has",
  description:
    "Changes how many replicas a service has, and waits until they are ready. Says what will undo it: an autoscaler, or the next " +
    "install of the chart.",
  args: [
    { name: "service", description: "the service", required: true, completes: "services" },
    {
      name: "replicas",
      description: "how many; 0 stops it and keeps its configuration and data",
      required: true,
    },
  ],
  options: {
    stack: stackOption,
    workload: {
      type: "string",
      value: "name",
      description: "the Deployment or StatefulSet, where there are several",
    },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for the replicas to become ready; 5m unless given",
    },
  },
  examples: ["kws service scale orders 3", "kws service scale orders 0 --stack shop"],
  async run({ args: [service = "", count = ""], options }, ctx) {
    const replicas = Number(count);
    if (!/^\d+$/.test(count) || replicas > 1000) {
      throw new UserError(`"${count}" is not a number of replicas`, {
        code: "usage",
        fix: "Give a whole number from 0 to 1000.",
      });
    }
    const chosen = await choose(ctx, [service], options.stack);
    const { connection, releases } = chosen;
    const [release] = releases;
    if (release === undefined) throw new UserError(`${service} is not installed`, { code: "not-found" });
    await settleHolds(ctx, chosen);
    const { stack, namespace } = release;
    const { client } = connection;
    const scaled = await ctx
      .steps()
      .run({ id: `scale ${service}`, title: `scale ${service} to ${replicas}` }, async (step) => {
        const done = await scaleService(client, release, {
          replicas,
          ...(options.workload === undefined ? {} : { workload: options.workload }),
        });
        await readyAgain(
          ctx,
          { service, stack, namespace },
          { connection, step, timeoutMs: options.timeout },
        );
        return done;
      });
    const { workload, from, to, warnings } = scaled;
    return {
      data: { service, stack, ...scaled },
      text: [`${workload}: ${from} → ${to}`, ...warnings.map((warning) => `note: ${warning}`)].join("\n"),
    };
  },
});
