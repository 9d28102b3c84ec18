import { describeIntercepted } from "@kws/platform/attach/intercepted";
import { namesOf } from "@kws/platform/attach/objects";
import { endIntercept } from "@kws/platform/attach/take";
import { giveBack } from "@kws/platform/dev/swap";
import { describeHold } from "@kws/platform/services/held";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { readyAgain } from "../../readiness.ts";
import { holdsOf, interceptsOf, isOwn } from "../../holding.ts";

export const command = defineCommand({
  summary: "give services back that are in development mode or intercepted",
  description:
    "Ends the development mode and the intercepts of services, whoever began them and wherever: they run again what they ran before " +
    "and get their requests, and the command waits until that is ready. A session that is still at one ends. Where it is somebody " +
    "else's, it asks first.",
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
    const { holder } = ctx;
    const [holds, intercepts] = await Promise.all([holdsOf(ctx, chosen), interceptsOf(ctx, chosen)]);
    const others = [
      ...holds.map((hold) => ({ ...hold, words: describeHold(hold) })),
      ...intercepts.map((one) => ({ ...one, words: describeIntercepted(one) })),
    ].filter((one) => one.alive && !isOwn(one, holder));
    for (const { words } of others) if (!(await ctx.confirm(`${words}. End that?`))) return {};
    const steps = ctx.steps();
    const data = await Promise.all(
      releases.map(async ({ service, stack, namespace }) => {
        const isThis = (one: { service: string; namespace: string }) =>
          one.service === service && one.namespace === namespace;
        const [hold, found] = [holds.find(isThis), intercepts.find(isThis)];
        const intercept =
          found !== undefined && (await endIntercept(client, namesOf(service, namespace), found.object));
        if (hold === undefined) return { service, stack, changed: false, intercept };
        return steps.run({ id: `down ${service}`, title: `give ${service} back` }, async (step) => {
          const changed = await giveBack(client, hold, service);
          await readyAgain(
            ctx,
            { service, stack, namespace },
            { connection, step, timeoutMs: options.timeout },
          );
          return { service, stack, changed, intercept };
        });
      }),
    );
    return {
      data,
      text: data.flatMap(wordsOf).join("\n"),
    };
  },
});

function wordsOf({
  service,
  changed,
  intercept,
}: {
  service: string;
  changed: boolean;
  intercept: boolean;
}): string[] {
  return [
    ...(intercept ? [`${service} gets its requests again: its intercept is ended`] : []),
    ...(changed ? [`${service} runs as before`] : []),
    ...(intercept || changed ? [] : [`${service} is not in development mode, and not intercepted`]),
  ];
}
