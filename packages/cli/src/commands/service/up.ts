import { dirname } from "node:path";
import { exitCodes } from "@kws/base/errors";
import { editors } from "@kws/platform/dev/debug/editors";
import type { DevEvent } from "@kws/platform/dev/events";
import { planDev } from "@kws/platform/dev/plan";
import { type DevSession, startDev } from "@kws/platform/dev/session";
import { loadServices } from "@kws/platform/project/services";
import { readNamespace, workloadsOf } from "@kws/platform/services/workloads";
import { locateTool } from "@kws/platform/tools/locate";
import { choose, stackOption } from "../../choosing.ts";
import { usageOf } from "../../board/usage.ts";
import { openView } from "../../board/view.ts";
import { openService } from "../open.ts";
import { defineCommand } from "../../command.ts";
import { openDebuggers } from "../../debugging.ts";
import { defaultTimeoutMs } from "../../starting.ts";
import { untilAborted } from "../../waiting.ts";

export const command = defineCommand({
  summary: "develop services: their source runs in their place",
  description:
    "Replaces services by containers that run their source, with the environment, secrets, volumes and sidecars that they have. " +
    "What changes in their folders is acted upon by the rules in kws.yaml: the process starts again, a command runs, or the image " +
    "is built. With --debug they run under their debuggers. Ctrl-C gives the services back. With -o json, one event a line.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  options: {
    stack: stackOption,
    plain: {
      type: "boolean",
      description: "lines also where a terminal could show several services at once",
    },
    "take-over": {
      type: "boolean",
      description: "also services that somebody else develops, whose session ends",
    },
    debug: { type: "boolean", description: "run them under their debuggers, with a local port for each" },
    "debug-brk": {
      type: "boolean",
      description: "as --debug, and each start waits at its first line for an editor",
    },
    editor: {
      type: "string",
      value: "name",
      choices: editors,
      description:
        "whose debug configuration is written; the one whose folder is there unless given, else vscode",
    },
    timeout: {
      type: "duration",
      value: "duration",
      description: "for a dev container to start; 5m unless given",
    },
  },
  examples: [
    "kws service up orders",
    "kws service up orders payments --stack shop",
    "kws service up orders --debug",
  ],
  async run({ args, options }, ctx) {
    const { signal, locations, childEnv } = ctx;
    const project = await ctx.project();
    const names = [...new Set(args)];
    const { provider, connection, releases } = await choose(ctx, names, options.stack);
    const services = await loadServices(project, { cache: locations.cache, env: childEnv, signal }, names);
    const kubectl = await locateTool("kubectl", { env: childEnv, cache: locations.cache, signal });
    const debug = options["debug-brk"] === true ? "hold" : options.debug === true ? "run" : undefined;
    const plans = await Promise.all(
      releases.map(async ({ service: name, namespace }) => {
        const service = services.find((candidate) => candidate.name === name);
        if (service === undefined) throw new Error("the service was found");
        const workloads = workloadsOf(await readNamespace(connection.client, namespace, signal), name);
        return { service, namespace, plan: await planDev(service, workloads, provider, signal, debug) };
      }),
    );
    const sessions: DevSession[] = [];
    using view = openView(ctx, names, {
      plain: options.plain === true,
      restart: async (name) => sessions.find((one) => one.service === name)?.restart(),
      open: async (name) => {
        const stack = options.stack === undefined ? {} : { stack: options.stack };
        return (await openService({ ...ctx, quiet: true }, name, stack)).url;
      },
      usage: () => {
        const namespaces = plans.map(({ namespace }) => namespace);
        return usageOf(connection.client, namespaces, signal);
      },
    });
    const over = AbortSignal.any([signal, view.quit]);
    const onEvent = (event: DevEvent) => view.onEvent(event);
    await using _debuggers = await openDebuggers(ctx, plans, {
      connection,
      workspace: dirname(project.file.path),
      editor: editors.find((one) => one === options.editor),
      kubectl: kubectl.path,
      onEvent,
    });
    try {
      const begun = await Promise.allSettled(
        plans.map(async ({ service, namespace, plan }) => {
          const session = await startDev({
            ...ctx,
            signal: over,
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
      const [first] = (await Promise.race([Promise.all(lost), untilAborted(over)])) ?? [];
      if (first !== undefined) throw first;
      return { exitCode: exitCodes.interrupted };
    } finally {
      // What is told from now on stays on the terminal, and Ctrl-C is a signal again.
      view[Symbol.dispose]();
      await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
    }
  },
});
