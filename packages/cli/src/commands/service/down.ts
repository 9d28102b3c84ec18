import { kubeServicesOf } from "@kws/platform/attach/backends";
import { namesOf } from "@kws/platform/attach/objects";
import { endIntercept, readInterceptMark } from "@kws/platform/attach/take";
import { giveBack } from "@kws/platform/dev/swap";
import { describeHold } from "@kws/platform/services/held";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { readyAgain } from "../../readiness.ts";
import { holdsOf, isOwn } from "../../holding.ts";

export const command = defineCommand({
  summary: "give services back that are in development mode",
  description:
    "Ends the development mode of services, whoever began it and wherever: they run again what they ran before, and the command " +
    "waits until that is ready. A session that is still at one ends. Where it is somebody else's, it asks first. Intercepts that were " +
    "left behind end too.",
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
    const chosen = await choose(ctx, [...new Set(args)], options.stack);
    const { connection, releases } = chosen;
    const { client } = connection;
    const { signal, holder } = ctx;
    const holds = await holdsOf(ctx, chosen);
    for (const hold of holds) {
      if (!hold.alive || isOwn(hold, holder)) continue;
      if (!(await ctx.confirm(`${describeHold(hold)}. End that?`))) return {};
    }
    const steps = ctx.steps();
    const data = await Promise.all(
      releases.map(async ({ service, stack, namespace }) => {
        const hold = holds.find((one) => one.service === service && one.namespace === namespace);
        const objects = await kubeServicesOf(client, service, namespace, signal);
        const intercepted = objects.find((object) => readInterceptMark(object) !== undefined);
        const ended =
          intercepted !== undefined && (await endIntercept(client, namesOf(service, namespace), intercepted));
        if (hold === undefined) return { service, stack, changed: ended };
        return steps.run({ id: `down ${service}`, title: `give ${service} back` }, async (step) => {
          const changed = await giveBack(client, hold, service);
          await readyAgain(
            ctx,
            { service, stack, namespace },
            { connection, step, timeoutMs: options.timeout },
          );
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
