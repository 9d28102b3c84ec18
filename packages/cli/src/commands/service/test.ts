import { resolve } from "node:path";
import { exitCodes, UserError } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import { openServices } from "@kws/platform/project/services";
import { findStack } from "@kws/platform/project/workspace";
import { chooseSuites, type Level, levels } from "@kws/platform/tests/levels";
import { exportResults } from "@kws/platform/tests/results";
import { runTests } from "@kws/platform/tests/run";
import { locateTool } from "@kws/platform/tools/locate";
import { defineCommand } from "../../command.ts";
import { checkCharts, plan } from "../../planning.ts";
import { placed, prepareTool, startCluster } from "../../starting.ts";
import { resultsTable, resultsText } from "../../testing.ts";
import { defaultTimeoutMs } from "../../waiting.ts";

export const command = defineCommand({
  summary: "run the tests of services in the cluster",
  description:
    "Unit tests run in the service's image, beside the datastores that they name; functional tests beside the installed service " +
    "and what it depends on. Each has a namespace of its own that goes afterwards. What has passed is not run again until " +
    "something of it has changed: an image, a chart, a datastore, the tests' definition. Exit code 1 where tests fail, " +
    "and 3 where some could not be run.",
  args: [{ name: "services", description: "the services", variadic: true, completes: "services" }],
  options: {
    level: {
      type: "string",
      value: "level",
      choices: levels,
      description: "only these tests; all unless given",
    },
    all: { type: "boolean", description: "all services that have tests" },
    stack: {
      type: "string",
      short: "s",
      value: "name",
      description:
        "functional tests in this running stack, as it is; of all its services unless some are named",
      completes: "stacks",
    },
    profile: {
      type: "string",
      short: "p",
      value: "name",
      description: "the charts' profile for functional tests, instead of what kws.yaml says",
      completes: "profiles",
    },
    force: { type: "boolean", description: "run also what has passed with the same content" },
    "reuse-failures": {
      type: "boolean",
      description: "do not run again what has failed with the same content",
    },
    keep: { type: "boolean", description: "leave the namespaces for a day, to look at" },
    reports: {
      type: "string",
      value: "folder",
      description: "copy outputs and reports there, as <service>/<level>/",
    },
    parallel: {
      type: "number",
      value: "count",
      min: 1,
      max: 32,
      description: "tests at once; 2 unless given",
    },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for one service, or the tests' container, to start; 5m unless given",
    },
    pull: {
      type: "boolean",
      description:
        "fetch services that live in git again, and base images that have changed in their registries",
    },
  },
  examples: [
    "kws service test catalog",
    "kws service test catalog orders --level functional --reports reports",
    "kws service test --all",
    "kws service test orders --stack shop",
  ],
  async run({ args, options }, ctx) {
    const { signal, locations, childEnv } = ctx;
    const project = await ctx.project();
    const { pull, profile } = options;
    const running =
      options.stack === undefined
        ? undefined
        : placed(findStack(project, options.stack), ctx.globals.namespace);
    const level = levelOf(options.level, running !== undefined);
    if (running !== undefined && options.keep === true) {
      throw new UserError("--keep is for the namespaces of tests, and --stack has none", {
        code: "usage",
        fix: "Leave out one of them.",
      });
    }
    if (args.length === 0 && options.all !== true && running === undefined) {
      throw new UserError("no service is named", {
        code: "usage",
        fix: "Name services, or give --all for all that have tests.",
      });
    }
    const services = await openServices(project, {
      cache: locations.cache,
      env: childEnv,
      signal,
      refresh: pull === true,
    }).all();
    const candidates = services.filter(({ name }) => running?.services?.includes(name) ?? true);
    const suites = chooseSuites(args.length > 0 ? services : candidates, { names: args, level });
    if (suites.length === 0) {
      throw new UserError(`no service has ${level === undefined ? "tests" : `${level} tests`}`, {
        code: "not-found",
        fix: "Say under `tests` of a service's kws.yaml how they are run.",
      });
    }
    const steps = ctx.steps();
    const helm = await prepareTool(ctx, steps);
    const kubectl = await locateTool("kubectl", { env: childEnv, cache: locations.cache, signal });
    const provider = await ctx.provider();
    const connect = async () => {
      await startCluster(ctx, provider, steps);
      return ctx.connect(provider);
    };
    // Nodes that images are sent to have to be there before.
    if (provider.buildsAlone !== true) await startCluster(ctx, provider, steps);
    await using work = await tempDir("kws-test");
    const results = await runTests({
      ...ctx,
      project,
      suites,
      services,
      provider,
      connect,
      helm,
      kubectl: kubectl.path,
      cache: locations.cache,
      env: childEnv,
      steps,
      parallel: options.parallel ?? 2,
      keep: options.keep === true,
      force: options.force === true,
      reuseFailures: options["reuse-failures"] === true,
      startMs: options.timeout ?? defaultTimeoutMs,
      ...(running === undefined ? {} : { running }),
      ...(profile === undefined ? {} : { profile }),
      ...(pull === undefined ? {} : { pull }),
      async plan(stack, service) {
        const request = { project, stack, selection: { only: [service] }, provider };
        const plans = await plan(ctx, request, { steps, folder: work.path });
        await checkCharts(ctx, helm, stack, plans);
        return plans;
      },
    });
    if (options.reports !== undefined) await exportResults(results, resolve(ctx.cwd, options.reports));
    const text = resultsText(results, ctx.style);
    const has = (outcome: string) => results.some((result) => result.outcome === outcome);
    return {
      data: { results },
      table: resultsTable(results, ctx.style, ctx.clock()),
      ...(text === "" ? {} : { text }),
      exitCode: has("failed") ? exitCodes.failed : has("error") ? exitCodes.degraded : exitCodes.ok,
    };
  },
});

function levelOf(given: string | undefined, inStack: boolean): Level | undefined {
  const level = levels.find((one) => one === given);
  if (!inStack) return level;
  if (level !== "unit") return "functional";
  throw new UserError("unit tests do not run in a stack", {
    code: "usage",
    fix: "Leave out --stack, or give --level functional.",
  });
}
