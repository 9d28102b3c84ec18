import { exitCodes } from "@kws/base/errors";
import { planDev } from "@kws/platform/dev/plan";
import { type DevSession, startDev } from "@kws/platform/dev/session";
import { loadServices } from "@kws/platform/project/services";
import { readNamespace, workloadsOf } from "@kws/platform/services/workloads";
import { locateTool } from "@kws/platform/tools/locate";
import { choose, stackOption } from "../../choosing.ts";
import { defineCommand } from "../../command.ts";
import { developmentReporter } from "../../developing.ts";
import { defaultTimeoutMs } from "../../starting.ts";
import { untilAborted } from "../../waiting.ts";

export const command = defineCommand({
  summary: "develop services: their source runs in their place",
  description:
    "Replaces services by containers that run their source, with the environment, secrets, volumes and sidecars that they have. " +
    "What changes in their folders is acted upon by the rules in kws.yaml: the process starts again, a command runs, or the image " +
    "is built. Ctrl-C gives the services back. With -o json, one event a line.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: {
    stack: stackOption,
    "take-over": {
      type: "boolean",
      description: "also services that somebody else develops, whose session ends",
    },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for a dev container to start; 5m unless given",
    },
  },
  examples: ["kws service up orders", "kws service up orders payments --stack shop"],
  async run({ args, options }, ctx) {
    const { signal, locations, childEnv } = ctx;
    const project = await ctx.project();
    const names = [...new Set(args)];
    const { provider, connection, releases } = await choose(ctx, names, options.stack);
    const services = await loadServices(project, { cache: locations.cache, env: childEnv, signal }, names);
    const kubectl = await locateTool("kubectl", { env: childEnv, cache: locations.cache, signal });
    const plans = await Promise.all(
      releases.map(async ({ service: name, namespace }) => {
        const service = services.find((candidate) => candidate.name === name);
        if (service === undefined) throw new Error("the service was found");
        const workloads = workloadsOf(await readNamespace(connection.client, namespace, signal), name);
        return { service, namespace, plan: await planDev(service, workloads, provider, signal) };
      }),
    );
    const onEvent = developmentReporter(
      ctx,
      plans.map(({ service }) => service.name),
    );
    const sessions: DevSession[] = [];
    try {
      const begun = await Promise.allSettled(
        plans.map(async ({ service, namespace, plan }) => {
          const session = await startDev({
            ...ctx,
            service,
            plan,
            namespace,
            workspace: project.name,
            provider,
            connection,
            kubectl: kubectl.path,
            cache: locations.cache,
            env: childEnv,
            takeOver: options["take-over"] === true,
            timeoutMs: options.timeout ?? defaultTimeoutMs,
            onEvent,
          });
          sessions.push(session);
        }),
      );
      const failed = begun.find((one) => one.status === "rejected");
      if (failed !== undefined) throw failed.reason;
      // One that somebody took over leaves the others as they are.
      const lost = sessions.map(async ({ service, ended }) => {
        const error = await ended;
        if (sessions.length > 1) onEvent({ service, kind: "problem", message: error.message });
        return error;
      });
      const [first] = (await Promise.race([Promise.all(lost), untilAborted(signal)])) ?? [];
      if (first !== undefined) throw first;
      return { exitCode: exitCodes.interrupted };
    } finally {
      await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
    }
  },
});
