import { defineCommand } from "../../command.ts";
import { dryRun, placed, stackNamed, start } from "../../starting.ts";
import { serviceTable } from "../../tables.ts";

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
    timeout: {
      type: "duration",
      value: "duration",
      description: "for one service to become ready; 5m unless given",
    },
    profile: {
      type: "string",
      short: "p",
      value: "name",
      description: "the charts' profile, instead of the stack's own",
      completes: "profiles",
    },
    "dry-run": { type: "boolean", description: "check everything and tell what would be done" },
    pull: {
      type: "boolean",
      description:
        "fetch services that live in git again, and base images that have changed in their registries",
    },
  },
  examples: ["kws stack start", "kws stack start shop", "kws stack start shop orders --timeout 2m"],
  async run({ args: [name, ...only], options }, ctx) {
    const project = await ctx.project();
    const stack = placed(await stackNamed(ctx, project, name, only), ctx.globals.namespace, options.profile);
    const request = { project, stack, only, provider: await ctx.provider() };
    if (options["dry-run"] === true) return dryRun(ctx, request);
    const started = await start(ctx, {
      ...request,
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
      ...(options.pull === undefined ? {} : { refresh: options.pull }),
    });
    return {
      data: { stack: stack.name, ...started },
      table: serviceTable(started.services, ctx.style, ctx.clock()),
    };
  },
});
