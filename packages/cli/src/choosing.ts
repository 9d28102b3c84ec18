/** What the commands on installed services share: the connection, the releases that were named, their statuses. */
import type { Connection, Provider } from "@kws/platform/providers/provider";
import type { Project } from "@kws/platform/project/workspace";
import { chooseReleases, listReleases, type Release, releasesIn } from "@kws/platform/services/releases";
import { serviceStatuses, type ServiceStatus } from "@kws/platform/services/status";
import type { Context } from "./context.ts";

export const stackOption = {
  type: "string",
  short: "s",
  value: "name",
  description: "the stack; where it is left out, the one that has the service",
  completes: "stacks",
} as const;

export interface Chosen {
  provider: Provider;
  connection: Connection;
  releases: Release[];
}

export async function choose(ctx: Context, names: string[], stack?: string): Promise<Chosen> {
  const provider = await ctx.provider();
  const connection = await ctx.connect(provider);
  const everywhere = await listReleases(connection.client, { signal: ctx.signal });
  const all = releasesIn(everywhere, ctx.globals.namespace);
  const project = await ctx.findProject();
  return {
    provider,
    connection,
    releases: chooseReleases(all, names, stack ?? onlyStackOf(project, all, names), servicesOf(project)),
  };
}

/** By name, where the workspace has names: reading all services' own files would take its time. */
function servicesOf(project: Project | undefined): string[] {
  const { services = {} } = project?.workspace ?? {};
  return Array.isArray(services) ? [] : Object.keys(services);
}

/** In a workspace with one stack, a name that several stacks have means that one's. */
function onlyStackOf(project: Project | undefined, all: Release[], names: string[]): string | undefined {
  const [only, ...more] = project?.stacks ?? [];
  if (only === undefined || more.length > 0) return undefined;
  const own = all.filter((release) => release.stack === only.name).map((release) => release.service);
  return own.length > 0 && names.every((name) => own.includes(name)) ? only.name : undefined;
}

export async function statuses(ctx: Context, chosen: Chosen): Promise<ServiceStatus[]> {
  const { ingressPort } = await chosen.provider.status();
  return serviceStatuses(chosen.connection.client, chosen.releases, {
    signal: ctx.signal,
    ...(ingressPort === undefined ? {} : { ingressPort }),
  });
}
