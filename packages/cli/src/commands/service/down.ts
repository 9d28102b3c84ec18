import { giveBack } from "@kws/platform/dev/swap";
import { describeHold, findHolds } from "@kws/platform/services/held";
import { readNamespace } from "@kws/platform/services/workloads";
import { untilReady } from "@kws/platform/stacks/ready";
import { NamespaceView } from "@kws/platform/stacks/view";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { defaultTimeoutMs } from "../../starting.ts";
import { isOwn } from "../../holding.ts";

export const command = defineCommand({
  summary: "give services back that are in development mode",
  description:
    "Ends the development mode of services, whoever began it and wherever: they run again what they ran before, and the command " +
    "waits until that is ready. A session that is still at one ends. Where it is somebody else's, it asks first.",
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
  examples: ["kws service down orders", "kws service down orders payments --stack shop"],
  async run({ args, options }, ctx) {
    const { connection, releases } = await choose(ctx, [...new Set(args)], options.stack);
    const { client } = connection;
    const { signal, clock, holder } = ctx;
    const chosen = await Promise.all(
      releases.map(async ({ service, stack, namespace }) => {
        const objects = await readNamespace(client, namespace, signal);
        const holds = await findHolds(client, objects, namespace, { host: holder.host, now: clock() });
        return { service, stack, namespace, hold: holds.find((hold) => hold.service === service) };
      }),
    );
    for (const { hold } of chosen) {
      if (hold === undefined || !hold.alive || isOwn(hold, holder)) continue;
      if (!(await ctx.confirm(`${describeHold(hold)}. End that?`))) return {};
    }
    const steps = ctx.steps();
    const data = await Promise.all(
      chosen.map(async ({ service, stack, namespace, hold }) => {
        if (hold === undefined) return { service, stack, changed: false };
        return steps.run({ id: `down ${service}`, title: `give ${service} back` }, async (step) => {
          const changed = await giveBack(client, hold, service);
          await using view = new NamespaceView(client, namespace);
          await view.open();
          await untilReady({
            service,
            stack: { name: stack, namespace },
            connection,
            view,
            step,
            signal,
            clock,
            timeoutMs: options.timeout ?? defaultTimeoutMs,
          });
          return { service, stack, changed };
        });
      }),
    );
    return {
      data,
      text: data
        .map(({ service, changed }) =>
          changed ? `${service} runs as before` : `${service} is not in development mode`,
        )
        .join("\n"),
    };
  },
});
