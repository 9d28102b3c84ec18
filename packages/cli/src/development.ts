/** The session of `kws service up`: services are replaced by their sources until it is ended. */
import { dirname } from "node:path";
import { exitCodes } from "@kws/base/errors";
import { describeIntercepted } from "@kws/platform/attach/intercepted";
import { editors } from "@kws/platform/dev/debug/editors";
import type { DevEvent } from "@kws/platform/dev/events";
import { planDev } from "@kws/platform/dev/plan";
import { type DevSession, startDev } from "@kws/platform/dev/session";
import { loadServices } from "@kws/platform/project/services";
import { readNamespace, workloadsOf } from "@kws/platform/services/workloads";
import { locateTool } from "@kws/platform/tools/locate";
import { usageOf } from "./board/usage.ts";
import { openView } from "./board/view.ts";
import { choose } from "./choosing.ts";
import type { Result } from "./command.ts";
import { openService } from "./commands/open.ts";
import type { Context } from "./context.ts";
import { openDebuggers } from "./debugging.ts";
import { interceptsOf } from "./holding.ts";
import { defaultTimeoutMs } from "./waiting.ts";
import { untilAborted } from "./waiting.ts";

export interface DevelopOptions {
  stack?: string;
  plain?: boolean;
  "take-over"?: boolean;
  debug?: boolean;
  "debug-brk"?: boolean;
  editor?: string;
  /** Milliseconds. */
  timeout?: number;
}

/** Ends with Ctrl-C, or where all of the services were taken over. */
export async function develop(ctx: Context, given: string[], options: DevelopOptions): Promise<Result> {
  const { signal, locations, childEnv } = ctx;
  const project = await ctx.project();
  const names = [...new Set(given)];
  const chosen = await choose(ctx, names, options.stack);
  const { provider, connection, releases } = chosen;
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
  const intercepts = await interceptsOf(ctx, chosen);
  const sessions: DevSession[] = [];
  using view = openView(ctx, names, {
    plain: options.plain === true,
    restart: async (name) => sessions.find((one) => one.service === name)?.restart(),
    open: (name) => openService({ ...ctx, quiet: true }, name, options.stack),
    usage: () => {
      const namespaces = plans.map(({ namespace }) => namespace);
      return usageOf(connection.client, namespaces, signal);
    },
  });
  const over = AbortSignal.any([signal, view.quit]);
  const onEvent = (event: DevEvent) => view.onEvent(event);
  // What is developed here would get no requests, and nobody would see why.
  for (const one of intercepts) {
    const message = `${describeIntercepted(one)}; \`kws service down ${one.service}\` ends that`;
    onEvent({ service: one.service, kind: "problem", message });
  }
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
}
