import { exitCodes, UserError } from "@kws/base/errors";
import { clusterOf } from "@kws/platform/attach/cluster";
import { listGateways } from "@kws/platform/attach/gateway";
import { keepGateway, type KeeperEvent } from "@kws/platform/attach/keeper";
import { findStack } from "@kws/platform/project/workspace";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "keep a stack's remote services connected",
  description:
    "Leads connections to the services that a stack uses from another cluster there, until Ctrl-C. `kws stack start` runs it in the " +
    "background; by hand it shows what happens. With -o json, one event a line.",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
  ],
  examples: ["kws stack connect shop"],
  async run({ args: [given] }, ctx) {
    const project = await ctx.findProject();
    const stack = given ?? (project === undefined ? undefined : findStack(project).name);
    const connection = await ctx.connect();
    const { namespace, output } = ctx.globals;
    const [gateway, ...more] = (await listGateways(connection.client, { stack, signal: ctx.signal })).filter(
      (one) => namespace === undefined || one.namespace === namespace,
    );
    if (gateway === undefined) {
      throw new UserError("nothing is used from another cluster", {
        code: "not-found",
        fix: "Name services with `remote` in kws.yaml or kws.local.yaml, and run `kws stack start`.",
      });
    }
    if (more.length > 0) {
      throw new UserError("several stacks use services of another cluster", {
        code: "usage",
        fix: "Name the stack, and with --namespace where it is.",
      });
    }
    const { place } = gateway;
    const remote = await ctx.connect(await ctx.contextProvider(place.context));
    const words = (event: KeeperEvent): string => {
      const where = `the services in ${place.namespace} of ${place.context}`;
      if (event.kind === "connected") return `connected to ${where}`;
      if (event.kind === "lost") return "the connection to the stack's cluster was lost";
      return event.kind === "working"
        ? `${event.service} answers again`
        : `${event.service} does not answer: ${event.reason}`;
    };
    await keepGateway({
      ...ctx,
      gateway,
      cluster: await clusterOf(connection),
      remote: await clusterOf(remote),
      onEvent: (event) => {
        if (output === "json") ctx.stdout.write(`${JSON.stringify(event)}\n`);
        else if (!ctx.quiet) ctx.stderr.write(`${words(event)}\n`);
      },
    });
    return { exitCode: exitCodes.interrupted };
  },
});
