import { restartService } from "@kws/platform/services/restart";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { readyAgain } from "../../readiness.ts";
import { settleHolds } from "../../holding.ts";

export const command = defineCommand({
  summary: "replace a service's pods, one after another",
  description: "Replaces a service's pods, one after another, and waits until the new ones are ready.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: {
    stack: stackOption,
    timeout: {
      type: "duration",
      value: "duration",
      description: "for one service to become ready; 5m unless given",
    },
  },
  examples: ["kws service restart orders", "kws service restart orders payments --stack shop"],
  async run({ args, options }, ctx) {
    const chosen = await choose(ctx, args, options.stack);
    await settleHolds(ctx, chosen);
    const { connection, releases } = chosen;
    const { client } = connection;
    const { clock } = ctx;
    const now = new Date(clock()).toISOString();
    const steps = ctx.steps();
    const data = await Promise.all(
      releases.map((release) => {
        const { service, stack, namespace } = release;
        return steps.run({ id: `restart ${service}`, title: `restart ${service}` }, async (step) => {
          const workloads = await restartService(client, release, now);
          await readyAgain(
            ctx,
            { service, stack, namespace },
            { connection, step, timeoutMs: options.timeout },
          );
          return { service, stack, workloads };
        });
      }),
    );
    return {
      data,
      text: data.map((one) => `${one.service}: ${one.workloads.join(", ")} restarted`).join("\n"),
    };
  },
});
