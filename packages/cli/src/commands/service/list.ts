import { UserError } from "@kws/base/errors";
import { openServices } from "@kws/platform/project/services";
import type { Project } from "@kws/platform/project/workspace";
import type { ServiceStatus } from "@kws/platform/services/status";
import { choose, stackOption, statuses } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { usedFromElsewhere } from "../../remote-status.ts";
import { serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "the services that are installed, and those that could be",
  description:
    "The services that are installed; in a workspace those of its stacks too that are not: they are used from another cluster, or " +
    "off. A cluster that does not run has none.",
  options: { stack: stackOption },
  examples: ["kws service list", "kws service list --stack shop -o json"],
  async run({ options: { stack } }, ctx) {
    const project = await ctx.findProject();
    const installed = await installedIn(ctx, project, stack);
    const absent = project === undefined ? [] : await absentServices(ctx, project, installed, stack);
    const { columns, rows } = serviceTable(installed, ctx.style, ctx.clock());
    const others = absent.map((one) => [one.service, one.stack, ctx.style.dim(one.state)]);
    return { data: [...installed, ...absent], table: { columns, rows: [...rows, ...others] } };
  },
});

/** A workspace has services to list, whatever is installed. */
async function installedIn(
  ctx: Context,
  project: Project | undefined,
  stack: string | undefined,
): Promise<ServiceStatus[]> {
  const isKnown = project?.stacks.some(({ name }) => stack === undefined || name === stack) === true;
  if (isKnown && (await (await ctx.provider()).status()).state !== "running") return [];
  try {
    return await statuses(ctx, await choose(ctx, [], stack));
  } catch (error) {
    if (isKnown && error instanceof UserError && error.code === "not-found") return [];
    throw error;
  }
}

/** Of the workspace: those that are used from another cluster, and those that nobody has started. */
async function absentServices(
  ctx: Context,
  project: Project,
  installed: ServiceStatus[],
  stack: string | undefined,
): Promise<(Omit<ServiceStatus, "state"> & { state: "remote" | "off" })[]> {
  const remote = await remoteServices(ctx, stack);
  const all = await openServices(project, { cache: ctx.locations.cache, env: ctx.childEnv }).names();
  const there = new Set(installed.map((one) => `${one.stack}/${one.service}`));
  return project.stacks
    .filter(({ name }) => stack === undefined || name === stack)
    .flatMap(({ name, namespace, services = all }) =>
      services
        .filter((service) => !there.has(`${name}/${service}`))
        .map((service) => ({
          service,
          stack: name,
          namespace: ctx.globals.namespace ?? namespace,
          state: remote.has(`${name}/${service}`) ? ("remote" as const) : ("off" as const),
          ready: 0,
          wanted: 0,
          restarts: 0,
          revision: 0,
          release: "",
          version: "",
          profile: "",
          updatedAt: "",
          address: "",
          pods: [],
        })),
    );
}

async function remoteServices(ctx: Context, stack: string | undefined): Promise<Set<string>> {
  const provider = await ctx.provider();
  if ((await provider.status()).state !== "running") return new Set();
  const { client } = await ctx.connect(provider);
  const { namespace } = ctx.globals;
  return usedFromElsewhere(ctx, client, { stack, namespace });
}
