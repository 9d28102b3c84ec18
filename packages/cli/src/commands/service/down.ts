import { kubeServicesOf } from "@kws/platform/attach/backends";
import { namesOf } from "@kws/platform/attach/objects";
import { endIntercept, readInterceptMark } from "@kws/platform/attach/take";
import { giveBack } from "@kws/platform/dev/swap";
import { describeHold } from "@kws/platform/services/held";
import { untilReady } from "@kws/platform/stacks/ready";
import { NamespaceView } from "@kws/platform/stacks/view";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { defaultTimeoutMs } from "../../starting.ts";
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
    const { signal, clock, holder } = ctx;
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
