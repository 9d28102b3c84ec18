import { UserError } from "@kws/base/errors";
import { openServices } from "@kws/platform/project/services";
import { findStack } from "@kws/platform/project/workspace";
import type { Provider } from "@kws/platform/providers/provider";
import { findOrphans, type Orphan } from "@kws/platform/stacks/orphans";
import { findStackObjects, removeServices, removeStack } from "@kws/platform/stacks/remove";
import { defineCommand, type Result } from "../../command.ts";
import type { Context } from "../../context.ts";
import { disconnectStack } from "../../keeping.ts";
import { removal } from "../../starting.ts";

export const command = defineCommand({
  summary: "remove a stack with its data",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
  ],
  options: {
    orphans: {
      type: "boolean",
      description: "remove only what the workspace no longer names: in all of its stacks unless one is given",
    },
    "keep-data": { type: "boolean", description: "keep the volumes" },
    "dry-run": { type: "boolean", description: "tell what would be removed" },
    timeout: { type: "duration", value: "duration", description: "for one service to end; 5m unless given" },
  },
  examples: [
    "kws stack remove shop",
    "kws stack remove shop --keep-data --yes",
    "kws stack remove --orphans --dry-run",
  ],
  async run({ args: [name], options }, ctx) {
    const provider = await ctx.provider();
    const request: Request = {
      provider,
      stack: name,
      keepData: options["keep-data"] ?? false,
      dryRun: options["dry-run"] ?? false,
      timeoutMs: options.timeout,
    };
    if (options.orphans === true) return removeOrphans(ctx, request);
    const project = await ctx.findProject();
    const stack = name ?? (project === undefined ? undefined : findStack(project).name);
    if (stack === undefined)
      throw new UserError("no stack was named", { code: "usage", fix: "See `kws stack list`." });
    const { namespace } = ctx.globals;
    const { keepData, dryRun, timeoutMs } = request;
    if (dryRun) {
      const { client } = await ctx.connect(provider);
      const found = await findStackObjects(client, { stack, namespace, keepData, signal: ctx.signal });
      const lines = Object.entries(found).map(([kind, names]) => `${kind}: ${names.join(", ") || "none"}`);
      return { data: { stack, ...found }, text: `${lines.join("\n")}\nNothing was changed.` };
    }
    const what = keepData ? "and keep its volumes" : "with all its data";
    if (!(await ctx.confirm(`Remove the stack ${stack} ${what}?`))) return { text: "Nothing was changed." };
    const settings = await removal(ctx, { provider, project, timeoutMs });
    await disconnectStack(ctx, settings.connection, provider, { stack, namespace });
    const removed = await removeStack({
      ...settings,
      stack,
      keepData,
      ...(namespace === undefined ? {} : { namespace }),
    });
    return { data: removed, text: `The stack ${stack} is gone${keepData ? "; its volumes are kept" : ""}.` };
  },
});

interface Request {
  provider: Provider;
  stack: string | undefined;
  keepData: boolean;
  dryRun: boolean;
  timeoutMs: number | undefined;
}

async function removeOrphans(ctx: Context, request: Request): Promise<Result> {
  const { provider, stack, keepData, timeoutMs } = request;
  const project = await ctx.project();
  const { locations, childEnv, signal } = ctx;
  const services = await openServices(project, { cache: locations.cache, env: childEnv }).names();
  const { client } = await ctx.connect(provider);
  const orphans = await findOrphans(client, {
    workspace: project.name,
    services,
    stack,
    namespace: ctx.globals.namespace,
    signal,
  });
  const lines = orphans.map(({ service, stack, volumes }) =>
    [`${service} of the stack ${stack}`, ...volumes].join(", "),
  );
  if (orphans.length === 0) return { data: [], text: "There are no orphans." };
  if (request.dryRun) return { data: orphans, text: `${lines.join("\n")}\nNothing was changed.` };
  const what = keepData ? "and keep their volumes" : "with all their data";
  if (!(await ctx.confirm(`Remove ${lines.join("; ")} ${what}?`))) return { text: "Nothing was changed." };
  const settings = await removal(ctx, { provider, project, timeoutMs });
  for (const { stack, namespace, names } of byPlace(orphans)) {
    await removeServices({ ...settings, stack, namespace, services: names, keepData });
  }
  return { data: orphans, text: `Removed: ${lines.join("; ")}.` };
}

function byPlace(orphans: Orphan[]): { stack: string; namespace: string; names: string[] }[] {
  const places = new Map<string, { stack: string; namespace: string; names: string[] }>();
  for (const { stack, namespace, service } of orphans) {
    const key = `${stack}/${namespace}`;
    const place = places.get(key) ?? { stack, namespace, names: [] };
    place.names.push(service);
    places.set(key, place);
  }
  return [...places.values()];
}
