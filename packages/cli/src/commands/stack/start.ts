import { defineCommand } from "../../command.ts";
import { listed, remoteOptions, startOptions } from "../../planning.ts";
import { remoteNames } from "../../remote.ts";
import { dryRun, placed, stackNamed, start } from "../../starting.ts";
import { remoteRows, serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "build what changed and install a stack's services",
  description:
    "Builds what changed, installs each service's chart as soon as what it depends on is ready, and waits until all are. " +
    "Starts the embedded cluster where it does not run. A service that fails is left as it is, to be looked at: mend it and " +
    "start the stack again. A container counts as failed when it crashed twice, when its image cannot be had, or when it is " +
    "unready 20 s longer than its own probes allow.",
  args: [
    { name: "stack", description: "the stack; the workspace's only one unless given", completes: "stacks" },
    {
      name: "services",
      description: "only these, with what they depend on",
      variadic: true,
      completes: "services",
    },
  ],
  options: {
    only: {
      type: "list",
      value: "services",
      description: "only these, with what they depend on, without naming the stack; may be repeated",
      completes: "services",
    },
    tag: {
      type: "list",
      value: "tags",
      description: "only the services with one of these tags, with what they depend on; may be repeated",
    },
    skip: {
      type: "list",
      value: "services",
      description: "not these, though others depend on them; may be repeated",
      completes: "services",
    },
    ...remoteOptions,
    prod: {
      type: "boolean",
      description: "take every service's package, as it runs in production; nothing is built or cloned",
    },
    ...startOptions,
  },
  examples: [
    "kws stack start",
    "kws stack start shop orders --timeout 2m",
    "kws stack start --tag backend --skip mailer",
    "kws stack start shop --remote payments,catalog",
    "kws stack start shop --prod",
  ],
  async run({ args: [name, ...services], options }, ctx) {
    const project = await ctx.project();
    const stack = placed(
      await stackNamed(ctx, project, name, services),
      ctx.globals.namespace,
      options.profile,
    );
    const selection = {
      only: [...services, ...listed(options.only)],
      tags: listed(options.tag),
      skip: listed(options.skip),
    };
    const provider = await ctx.provider();
    const place = { project, stack, provider };
    const request = {
      ...place,
      selection,
      ...(options.prod === true ? { production: {} } : {}),
      remote: await remoteNames(ctx, place, {
        remote: listed(options.remote),
        local: listed(options.local),
      }),
    };
    if (options["dry-run"] === true) return dryRun(ctx, request);
    const started = await start(ctx, {
      ...request,
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
      ...(options.pull === undefined ? {} : { refresh: options.pull }),
    });
    const { columns, rows } = serviceTable(started.services, ctx.style, ctx.clock());
    return {
      data: { stack: stack.name, ...started },
      table: { columns, rows: [...rows, ...remoteRows(started.remote, ctx.style)] },
    };
  },
});
