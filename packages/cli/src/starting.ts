/** What `kws stack start` and `kws demo` have in common: check, start the cluster, start the stack, tell the addresses. */
import { UserError } from "@kws/base/errors";
import type { StepRecord, Steps } from "@kws/base/steps";
import { tempDir } from "@kws/base/tempdir";
import type { KubeObject } from "@kws/kube/object";
import { placeholderValues } from "@kws/platform/images/build";
import { findStack, graphNode, type Project, type ProjectStack } from "@kws/platform/project/workspace";
import { openServices } from "@kws/platform/project/services";
import type { Connection, Provider, ProviderStatus } from "@kws/platform/providers/provider";
import { instanceLabel } from "@kws/platform/services/labels";
import { listReleases } from "@kws/platform/services/releases";
import { memoryCommitment, memoryRequests } from "@kws/platform/services/resources";
import { serviceStatuses, type ServiceStatus } from "@kws/platform/services/status";
import type { RemoveStackOptions } from "@kws/platform/stacks/remove";
import { isWhole } from "@kws/platform/stacks/plan";
import { startStack } from "@kws/platform/stacks/start";
import { locateTool } from "@kws/platform/tools/locate";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import { checkCharts, plan, type PlanRequest } from "./planning.ts";
import { findRemotes, linkRemotes } from "./remote.ts";
import { type RemoteStatus, remoteStatuses } from "./remote-status.ts";
import { renderCriticalPath } from "./progress.ts";
import { defaultTimeoutMs } from "./waiting.ts";

export interface Started {
  cluster: ProviderStatus;
  services: (ServiceStatus & { changed: boolean; digest?: string })[];
  /** Those that are used from another cluster. */
  remote: RemoteStatus[];
  steps: StepRecord[];
  criticalPath: string[];
}

export async function start(ctx: Context, request: PlanRequest): Promise<Started> {
  const { project, stack, provider } = request;
  const { signal, locations, childEnv } = ctx;
  const steps = ctx.steps();
  await using work = await tempDir("kws-start");
  const plans = await plan(ctx, request, { steps, folder: work.path });
  const helm = await prepareTool(ctx, steps);
  const asked = await checkCharts(ctx, helm, stack, plans);
  const found = await findRemotes(ctx, request, plans, steps);
  const cluster = await startCluster(ctx, provider, steps);
  const connection = await ctx.connect(provider);
  await warnOfRequests(ctx, connection, { stack, asked });
  const whole = isWhole(request.selection ?? {});
  const timeoutMs = request.timeoutMs ?? defaultTimeoutMs;
  const link = { project, stack, plans, whole, found, provider, connection, cluster, steps, timeoutMs };
  const results = await startStack({
    project,
    stack,
    plans,
    whole,
    remote: linkRemotes(ctx, link),
    provider,
    connection,
    helm,
    cache: locations.cache,
    env: childEnv,
    log: ctx.log,
    steps,
    signal,
    timeoutMs,
    ...(request.refresh === undefined ? {} : { pull: request.refresh }),
    clock: ctx.clock,
    holder: ctx.holder,
  });
  await warnOfMemory(ctx, connection);
  const path = steps.criticalPath();
  if (!ctx.quiet) ctx.stderr.write(renderCriticalPath(path, ctx.style));
  const statuses = await statusesOf(connection, stack, cluster.ingressPort);
  return {
    cluster,
    steps: steps.records(),
    criticalPath: path.map((step) => step.id),
    remote: await remoteStatuses(ctx, connection.client, { stack: stack.name, namespace: stack.namespace }),
    services: statuses.map((status) => {
      const result = results.find(({ service }) => service === status.service);
      const { changed = false, digest } = result ?? {};
      return Object.assign(status, digest === undefined ? { changed } : { changed, digest });
    }),
  };
}

/** Told before the start, which would wait in vain for pods that no node has room for. */
async function warnOfRequests(
  ctx: Context,
  { client }: Connection,
  { stack, asked }: { stack: ProjectStack; asked: Map<string, number> },
): Promise<void> {
  if (ctx.quiet) return;
  const isReplaced = ({ metadata: { namespace, labels } }: KubeObject) => {
    const instance = labels?.[instanceLabel];
    return namespace === stack.namespace && (instance === undefined || asked.has(instance));
  };
  const found = await memoryRequests(client, isReplaced, ctx.signal);
  if (found === undefined) return;
  const { requested, allocatable } = found;
  const wanted = [...asked.values()].reduce((total, bytes) => total + bytes, 0);
  if (requested + wanted <= allocatable) return;
  const [most] = [...asked].toSorted(([, a], [, b]) => b - a);
  ctx.stderr.write(
    `warning: these services ask for ${gibibytes(wanted)} GiB of memory beside ${gibibytes(requested)} GiB of other pods, and the ` +
      `nodes have ${gibibytes(allocatable)} GiB: some pods will not start. Lower \`resources.requests\`, of ${most?.[0]} first, ` +
      "or leave services out with --skip\n",
  );
}

function gibibytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}

/** A machine that runs out of memory ends what is not to blame. */
async function warnOfMemory(ctx: Context, { client }: Connection): Promise<void> {
  const found = await memoryCommitment(client, ctx.signal);
  if (ctx.quiet || found === undefined || found.promised <= found.allocatable) return;
  const [promised, has] = [gibibytes(found.promised), gibibytes(found.allocatable)];
  ctx.stderr.write(
    `warning: the pods of this cluster may use ${promised} GiB of memory, and its nodes have ${has} GiB: ` +
      "lower limits, or leave services out with --skip\n",
  );
}

/** The stack of that name; a service's name in its place is told as that. `names` are those that follow. */
export async function stackNamed(
  ctx: Context,
  project: Project,
  name: string | undefined,
  names: string[],
): Promise<ProjectStack> {
  try {
    return findStack(project, name);
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== "not-found" || name === undefined) throw error;
    const services = openServices(project, { cache: ctx.locations.cache, env: ctx.childEnv });
    const has = ({ services: own }: ProjectStack) => own === undefined || own.includes(name);
    const stack = (await services.has(name)) ? project.stacks.find(has) : undefined;
    if (stack === undefined) throw error;
    throw new UserError(`"${name}" is a service, and the first name is a stack's`, {
      code: "not-found",
      fix: `Run \`kws stack start ${[stack.name, name, ...names].join(" ")}\`.`,
    });
  }
}

/** The stack with what flags say of it. */
export function placed(stack: ProjectStack, namespace?: string, profile?: string): ProjectStack {
  for (const [flag, name] of [
    ["--namespace", namespace],
    ["--profile", profile],
  ]) {
    if (name === undefined || /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) continue;
    throw new UserError(`${flag} cannot be ${JSON.stringify(name)}`, {
      code: "usage",
      fix: "Use lower-case letters, digits and hyphens, beginning and ending with a letter or digit.",
    });
  }
  return { ...stack, namespace: namespace ?? stack.namespace, profile: profile ?? stack.profile };
}

/** Everything is read and checked as for a start; nothing is built, and the cluster is not touched. */
export async function dryRun(ctx: Context, request: PlanRequest): Promise<Result> {
  const { stack } = request;
  const steps = ctx.steps();
  await using work = await tempDir("kws-start");
  const plans = await plan(ctx, request, { steps, folder: work.path });
  await checkCharts(ctx, await prepareTool(ctx, steps), stack, plans);
  const { names: remote = [], place } = (await findRemotes(ctx, request, plans, steps)) ?? {};
  const data = plans
    .filter((one) => one.how !== "await")
    .map((one) => {
      const builds = one.how === "build" && Object.keys(placeholderValues(one.service)).length > 0;
      const chart = `${one.chart.name}-${one.chart.version}`;
      const planned = { service: one.service.name, builds, chart, after: one.service.dependsOn };
      return one.how === "package" ? Object.assign(planned, { digest: one.prepared.found.digest }) : planned;
    });
  const rows = data.map((one) => [
    one.service,
    one.builds ? "yes" : "no",
    one.chart,
    one.after.join(", "),
    stack.profile,
    stack.namespace,
  ]);
  const elsewhere = remote.map((name) => [
    name,
    "no",
    "",
    "",
    "",
    `${place?.namespace} of ${place?.context}`,
  ]);
  return {
    data: { stack: stack.name, namespace: stack.namespace, profile: stack.profile, services: data, remote },
    table: {
      columns: ["SERVICE", "BUILDS", "CHART", "AFTER", "PROFILE", "NAMESPACE"],
      rows: [...rows, ...elsewhere],
    },
    text: "Nothing was changed.",
  };
}

/** The provider's cluster, started where it does not run. */
export async function startCluster(ctx: Context, provider: Provider, steps: Steps): Promise<ProviderStatus> {
  return steps.run({ id: "cluster", title: `cluster (${provider.name})` }, async (step) => {
    const before = await provider.status();
    if (before.state === "running") {
      step.skip("running");
      return before;
    }
    return provider.start({ signal: ctx.signal, onProgress: (text) => step.detail(text) });
  });
}

/** The first use unpacks Helm, which takes a moment and is shown. */
export async function prepareTool(ctx: Context, steps: Steps): Promise<string> {
  return steps.run({ id: "helm", title: "helm" }, async (step) => {
    const tool = await locateTool("helm", {
      env: ctx.childEnv,
      cache: ctx.locations.cache,
      signal: ctx.signal,
    });
    step.skip(`${tool.version}, ${tool.source}`);
    return tool.path;
  });
}

async function statusesOf(
  connection: Connection,
  stack: ProjectStack,
  ingressPort?: number,
): Promise<ServiceStatus[]> {
  const all = await listReleases(connection.client, { stack: stack.name });
  const releases = all.filter((release) => release.namespace === stack.namespace);
  return serviceStatuses(connection.client, releases, ingressPort === undefined ? {} : { ingressPort });
}

export interface RemovalRequest {
  provider: Provider;
  project: Project | undefined;
  timeoutMs?: number | undefined;
}

/** What removing takes, with a cluster that runs. */
export async function removal(
  ctx: Context,
  { provider, project, timeoutMs }: RemovalRequest,
): Promise<Omit<RemoveStackOptions, "stack" | "keepData">> {
  const { locations, childEnv, signal } = ctx;
  const connection = await ctx.connect(provider);
  const { path: helm } = await locateTool("helm", { env: childEnv, cache: locations.cache, signal });
  const loading =
    project === undefined
      ? []
      : openServices(project, { cache: locations.cache, env: childEnv, clones: "use" }).all();
  return {
    // A workspace with a fault says nothing of the order.
    graph: await Promise.resolve(loading).then(
      (all) => all.map(graphNode),
      () => [],
    ),
    connection,
    helm,
    env: childEnv,
    log: ctx.log,
    steps: ctx.steps(),
    signal,
    timeoutMs: timeoutMs ?? defaultTimeoutMs,
    clock: ctx.clock,
    holder: ctx.holder,
  };
}
