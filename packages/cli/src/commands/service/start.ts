import { UserError } from "@kws/base/errors";
import { findStack, type Project, type ProjectStack } from "@kws/platform/project/workspace";
import { stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { installedServices, startOptions } from "../../planning.ts";
import { remoteNames } from "../../remote.ts";
import { dryRun, placed, start } from "../../starting.ts";
import { serviceTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "start single services of a stack",
  description:
    "Installs the services, and what they depend on where it is not installed yet; what is installed is left as it is. From " +
    "source unless the workspace has only the package; with --prod from the package: the chart and the images as they run in " +
    "production, at the version that is asked for or that the workspace pins, with the values of the profile.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: {
    stack: { ...stackOption, description: "the stack; where it is left out, the one that has the services" },
    prod: { type: "boolean", description: "from the package, as it runs in production" },
    dev: { type: "boolean", description: "from source, and then as `kws service up` does, until Ctrl-C" },
    version: {
      type: "string",
      value: "version",
      description: "the package's version or a range, instead of the workspace's; implies --prod",
    },
    "no-deps": { type: "boolean", description: "not what they depend on" },
    ...startOptions,
  },
  examples: [
    "kws service start orders",
    "kws service start orders --prod",
    "kws service start orders --dev",
    "kws service start orders --version ^1.4 -p qa1",
  ],
  async run({ args: names, options }, ctx) {
    refuseContradictions(names, options);
    const project = await ctx.project();
    const stack = placed(stackOf(project, names, options.stack), ctx.globals.namespace, options.profile);
    const provider = await ctx.provider();
    const { version } = options;
    const running = await installedServices(ctx, stack, provider);
    // What is asked for by name is started here, and what was started so before stays.
    const remote = await remoteNames(ctx, { project, stack, provider }, { remote: [], local: names });
    const request = {
      project,
      stack,
      selection: {
        only: names,
        noDependencies: options["no-deps"] === true,
        running,
      },
      ...(options.prod === true || version !== undefined ? { production: { version } } : {}),
      provider,
      remote: remote.filter((name) => !running.includes(name)),
      ...(options.pull === undefined ? {} : { refresh: options.pull }),
    };
    if (options["dry-run"] === true) return dryRun(ctx, request);
    const started = await start(ctx, {
      ...request,
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout }),
    });
    if (options.dev === true) {
      const { develop } = await import("../../development.ts");
      const { timeout } = options;
      return develop(ctx, names, { stack: stack.name, ...(timeout === undefined ? {} : { timeout }) });
    }
    const services = started.services.filter(({ service }) => names.includes(service));
    return {
      data: { stack: stack.name, ...started, services },
      table: serviceTable(services, ctx.style, ctx.clock()),
    };
  },
});

function refuseContradictions(
  names: string[],
  { dev, prod, version }: { dev?: boolean; prod?: boolean; version?: string },
): void {
  if (version !== undefined && names.length !== 1) {
    throw new UserError("--version is for one service", { code: "usage", fix: "Name one service." });
  }
  if (dev === true && (prod === true || version !== undefined)) {
    throw new UserError("--dev takes the source, and --prod and --version the package", {
      code: "usage",
      fix: "Give one of them.",
    });
  }
}

/** The stack that is named; else the only one that has all of the services. */
function stackOf(project: Project, names: string[], given: string | undefined): ProjectStack {
  if (given !== undefined) return findStack(project, given);
  const fitting = project.stacks.filter(
    ({ services }) => services === undefined || names.every((name) => services.includes(name)),
  );
  const [only, ...more] = fitting;
  if (only !== undefined && more.length === 0) return only;
  if (only === undefined) {
    throw new UserError(`no stack of the workspace has ${names.join(" and ")}`, {
      code: "not-found",
      fix: "Correct the names, or add them to a stack's services.",
    });
  }
  throw new UserError(`several stacks have ${names.join(" and ")}`, {
    code: "usage",
    fix: `Name one with --stack: ${fitting.map(({ name }) => name).join(", ")}.`,
  });
}
