import { exitCodes } from "@kws/base/errors";
import { findStack } from "@kws/platform/project/workspace";
import { chooseReleases, listReleases } from "@kws/platform/services/releases";
import { missingOf } from "@kws/platform/stacks/list";
import { listRecords } from "@kws/platform/stacks/record";
import { statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { serviceTable, stateColor } from "../../tables.ts";

export const command = defineCommand({
  summary: "how a stack's services are",
  description:
    "How a stack's services are. Exits with 3 where one is not ready, or is missing because a start failed.",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
  ],
  examples: ["kws stack status shop", "kws stack status shop -o json"],
  async run({ args: [given] }, ctx) {
    const project = given === undefined ? await ctx.findProject() : undefined;
    const stack = given ?? (project === undefined ? undefined : findStack(project).name);
    const provider = await ctx.provider();
    const connection = await ctx.connect(provider);
    const { namespace } = ctx.globals;
    const isMeant = (one: { namespace: string }) => namespace === undefined || one.namespace === namespace;
    const filter = { signal: ctx.signal, ...(stack === undefined ? {} : { stack }) };
    const records = (await listRecords(connection.client, filter)).filter(isMeant);
    const installed = (await listReleases(connection.client, filter)).filter(isMeant);
    const releases = records.length > 0 ? installed : chooseReleases(installed, [], stack);
    const services = await statuses(ctx, { provider, connection, releases });
    const missing = records.flatMap(({ stack: name, namespace: space, services: wanted }) => {
      const own = releases.filter((release) => release.stack === name && release.namespace === space);
      return missingOf(wanted, own).map((service) => ({ service, stack: name }));
    });
    const ready = services.every((service) => service.state === "ready");
    const { columns, rows } = serviceTable(services, ctx.style, ctx.clock());
    const absent = missing.map((one) => [one.service, one.stack, stateColor(ctx.style, "missing")]);
    return {
      data: {
        stack: stack ?? records[0]?.stack ?? services[0]?.stack,
        state: missing.length > 0 ? "incomplete" : ready ? "ready" : "degraded",
        services,
        missing: missing.map(({ service }) => service),
      },
      table: { columns, rows: [...rows, ...absent] },
      exitCode: ready && missing.length === 0 ? exitCodes.ok : exitCodes.degraded,
    };
  },
});
