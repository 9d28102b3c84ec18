import { exitCodes } from "@kws/base/errors";
import { openServices } from "@kws/platform/project/services";
import { findStack, type Project } from "@kws/platform/project/workspace";
import type { Connection } from "@kws/platform/providers/provider";
import { chooseReleases, listReleases, type Release } from "@kws/platform/services/releases";
import { missingOf } from "@kws/platform/stacks/list";
import { findOrphans, type Orphan } from "@kws/platform/stacks/orphans";
import { listRecords } from "@kws/platform/stacks/record";
import { statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { remoteStatuses } from "../../remote-status.ts";
import { remoteRows, serviceTable, stateColor } from "../../tables.ts";

export const command = defineCommand({
  summary: "how a stack's services are",
  description:
    "How a stack's services are. Exits with 3 where one is not ready, is missing because a start failed, or is used from another " +
    "cluster and cannot be reached. Inside the workspace it tells too which services are off, and which are orphans: in the cluster, " +
    "and no longer in the workspace.",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
  ],
  examples: ["kws stack status shop", "kws stack status shop -o json"],
  async run({ args: [given] }, ctx) {
    const project = await ctx.findProject();
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
    const remote = await remoteStatuses(ctx, connection.client, { stack, namespace });
    const wanted = [...records.flatMap((record) => record.services), ...remote.map(({ service }) => service)];
    const { off, orphans } = await besides(ctx, { project, stack, connection, wanted, installed });
    const ready =
      services.every((service) => service.state === "ready") &&
      remote.every(({ state }) => state === "ready");
    const problems = remote.flatMap((one) => one.problem ?? []);
    if (!ctx.quiet) for (const problem of new Set(problems)) ctx.stderr.write(`${problem}\n`);
    const { columns, rows } = serviceTable(services, ctx.style, ctx.clock());
    const absent = [
      ...remoteRows(remote, ctx.style),
      ...missing.map((one) => [one.service, one.stack, stateColor(ctx.style, "missing")]),
      ...off.map((service) => [service, stack ?? "", ctx.style.dim("off")]),
      ...orphans.map((one) => [one.service, one.stack, stateColor(ctx.style, "orphan"), ...one.volumes]),
    ];
    return {
      data: {
        stack: stack ?? records[0]?.stack ?? services[0]?.stack,
        state: missing.length > 0 ? "incomplete" : ready ? "ready" : "degraded",
        services,
        remote,
        missing: missing.map(({ service }) => service),
        off,
        orphans,
      },
      table: { columns, rows: [...rows, ...absent] },
      exitCode: ready && missing.length === 0 ? exitCodes.ok : exitCodes.degraded,
    };
  },
});

interface Besides {
  project: Project | undefined;
  stack: string | undefined;
  connection: Connection;
  /** By the stack's records, and those that are used from another cluster. */
  wanted: string[];
  installed: Release[];
}

/** What only the workspace can tell: the stack's services that nobody has started, and what the workspace has dropped. */
async function besides(
  ctx: Context,
  { project, stack, connection, wanted, installed }: Besides,
): Promise<{ off: string[]; orphans: Orphan[] }> {
  const known = project?.stacks.find(({ name }) => name === stack);
  const isOurs = installed.every(({ workspace }) => workspace === project?.name);
  if (project === undefined || known === undefined || !isOurs) return { off: [], orphans: [] };
  const { locations, childEnv, signal } = ctx;
  const names = await openServices(project, { cache: locations.cache, env: childEnv }).names();
  const there = new Set([...wanted, ...installed.map(({ service }) => service)]);
  const orphans = await findOrphans(connection.client, {
    workspace: project.name,
    services: names,
    stack,
    namespace: ctx.globals.namespace,
    signal,
  });
  return { off: (known.services ?? names).filter((name) => !there.has(name)), orphans };
}
