/**
 * Services of a stack that are used from another cluster: found there before anything is changed, made reachable here, and kept
 * so by a process in the background, `kws stack connect`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import { signalProcess, waitForExit } from "@kws/base/process";
import { sleep } from "@kws/base/retry";
import type { Steps } from "@kws/base/steps";
import type { KubeClient } from "@kws/kube/client";
import { type Cluster, clusterOf } from "@kws/platform/attach/cluster";
import {
  applyGateway,
  type Gateway,
  type GatewayStack,
  listGateways,
  readGateway,
  removeGateway,
} from "@kws/platform/attach/gateway";
import { dropKeeper, findKeeper, isConnected } from "@kws/platform/attach/keeper";
import {
  findRemote,
  type RemoteObject,
  type RemotePlace,
  untilRemoteReady,
} from "@kws/platform/attach/remote";
import { type RemoteChoice, remoteServices } from "@kws/platform/project/remote";
import { openServices } from "@kws/platform/project/services";
import type { Project, ProjectStack } from "@kws/platform/project/workspace";
import type { Connection, Provider, ProviderStatus } from "@kws/platform/providers/provider";
import { isWhole, type Selection, type ServicePlan } from "@kws/platform/stacks/plan";
import type { RemoteServices } from "@kws/platform/stacks/start";
import type { Context } from "./context.ts";

/** For a gateway or an intercept's proxy, where the cluster has no image with Node of its own. */
export const defaultNodeImage = "node:24-alpine";

/** The stack's services that another cluster has; none where the stack is started in the very place that has them. */
export async function remoteNames(
  ctx: Context,
  { project, stack, provider }: { project: Project; stack: ProjectStack; provider: Provider },
  choice: RemoteChoice,
): Promise<string[]> {
  if (stack.remote === undefined && choice.remote.length === 0) return [];
  const { context, namespace = stack.namespace } = stack.remote ?? {};
  if (provider.name === "kubeconfig" && namespace === stack.namespace) {
    if ((await provider.kubeconfig()).context === context) return [];
  }
  const services = openServices(project, { cache: ctx.locations.cache, env: ctx.childEnv });
  return remoteServices(stack, stack.services ?? (await services.names()), choice);
}

interface Remote {
  place: RemotePlace;
  cluster: Cluster;
  /** Those that lead somewhere. */
  names: string[];
  objects: RemoteObject[];
}

export interface RemoteRequest {
  stack: ProjectStack;
  /** Of the whole stack. */
  remote?: string[];
  selection?: Selection;
}

/** What the start will use of the other cluster, which is asked for it; undefined where that is nothing. */
export async function findRemotes(
  ctx: Context,
  { stack, remote = [], selection = {} }: RemoteRequest,
  plans: ServicePlan[],
  steps: Steps,
): Promise<Remote | undefined> {
  const needed = new Set(plans.flatMap(({ service }) => service.dependsOn));
  const asked = (name: string) =>
    (isWhole({ ...selection, skip: [] }) || needed.has(name) || selection.only?.includes(name) === true) &&
    selection.skip?.includes(name) !== true;
  const wanted = remote.filter(asked);
  if (wanted.length === 0) return undefined;
  const { context, namespace = stack.namespace } = stack.remote ?? {};
  if (context === undefined) {
    throw new UserError(`the stack ${stack.name} does not say which cluster has ${wanted.join(", ")}`, {
      code: "config",
      fix: `Name its kubeconfig context in kws.yaml or kws.local.yaml, as \`stacks.${stack.name}.remote.context\`.`,
    });
  }
  const { signal } = ctx;
  return steps.run(
    { id: "remote", title: `services in ${namespace} of ${context}` },
    async (step): Promise<Remote> => {
      const provider = await ctx.contextProvider(context);
      await provider.start({ signal });
      const cluster = await clusterOf(await ctx.connect(provider));
      const found = await Promise.all(
        wanted.map(async (name) => ({
          name,
          objects: await findRemote(cluster.client, name, namespace, signal),
        })),
      );
      for (const { name, objects } of found) {
        if (objects.length > 0) continue;
        const lacks = `${name} has no Service with a TCP port in the namespace ${namespace} of the context ${context}`;
        if (needed.has(name)) {
          throw new UserError(lacks, {
            code: "not-found",
            fix: `Install it there, or start it here with \`--local ${name}\`.`,
          });
        }
        step.note(`${lacks}: nothing is to be reached`);
      }
      const some = found.filter(({ objects }) => objects.length > 0);
      return {
        place: { context, namespace },
        cluster,
        names: some.map(({ name }) => name),
        objects: some.flatMap(({ objects }) => objects),
      };
    },
  );
}

export interface LinkOptions {
  project: Project;
  stack: ProjectStack;
  plans: ServicePlan[];
  whole: boolean;
  found: Remote | undefined;
  provider: Provider;
  connection: Connection;
  cluster: ProviderStatus;
  steps: Steps;
  timeoutMs: number;
}

/** What starting the stack does for them. */
export function linkRemotes(ctx: Context, options: LinkOptions): RemoteServices {
  const { project, stack, plans, whole, found, provider, cluster, steps, timeoutMs } = options;
  const { client } = options.connection;
  const at = { stack: stack.name, namespace: stack.namespace };
  const here = new Set(plans.map(({ service }) => service.name));
  let gateway: Gateway | undefined;
  let keeper: ChildProcess | undefined;
  let connected: Promise<void> | undefined;
  return {
    names: found?.names ?? [],
    async connect() {
      const before = await readGateway(client, at);
      const names = new Set(found?.names);
      const kept = whole ? [] : (before?.objects ?? []);
      const objects = [
        ...(found?.objects ?? []),
        ...kept.filter(({ service }) => !names.has(service) && !here.has(service)),
      ];
      const place = found?.place ?? before?.place;
      if (place === undefined) return;
      if (objects.length === 0) {
        if (before !== undefined) await disconnect(ctx, client, cluster, before);
        return;
      }
      const image = stack.remote?.image ?? provider.nodeImage ?? defaultNodeImage;
      gateway = await applyGateway({ ...at, client, place, objects, image, before });
      const alive = await findKeeper(client, at, { host: ctx.holder.host, now: ctx.clock() });
      if (alive !== undefined && before?.revision === gateway.revision) return;
      await endKeeper(ctx, client, cluster, at);
      keeper = await startKeeper(ctx, project, cluster, at);
    },
    async ready(name, signal) {
      const step = {
        id: `ready ${name}`,
        title: `${name} in ${found?.place.namespace} of ${found?.place.context}`,
      };
      await steps.run(step, async (handle) => {
        if (gateway === undefined || found === undefined) return;
        const objects = found.objects.filter(({ service }) => service === name);
        const onProgress = (text: string) => handle.detail(text);
        await untilRemoteReady({ ...found, objects, signal, timeoutMs, clock: ctx.clock, onProgress });
        const log = logPath(ctx, cluster, at);
        await (connected ??= untilConnected({
          client,
          gateway,
          keeper,
          log,
          signal,
          timeoutMs,
          clock: ctx.clock,
        }));
      });
    },
  };
}

interface ConnectedOptions {
  client: KubeClient;
  gateway: Gateway;
  /** Where it was just started. */
  keeper: ChildProcess | undefined;
  /** What it writes. */
  log: string;
  signal: AbortSignal;
  timeoutMs: number;
  clock: () => number;
}

const pauseMs = 200;

async function untilConnected(options: ConnectedOptions): Promise<void> {
  const { client, gateway, keeper, log, signal, timeoutMs, clock } = options;
  const { stack, namespace } = gateway;
  const deadline = clock() + timeoutMs;
  for (;;) {
    // Its pod is ready for some seconds longer than anybody is there.
    const said = keeper === undefined ? [{ kind: "connected" }] : await whatItSaid(log);
    const connected = said.some(({ kind }) => kind === "connected");
    if (connected && (await isConnected(client, gateway, signal))) return;
    if (keeper !== undefined && (keeper.exitCode ?? keeper.signalCode) !== null) {
      const last = said.findLast(({ message }) => message !== undefined);
      throw new UserError(
        `what keeps remote services connected has ended: ${last?.message ?? `see ${log}`}`,
        {
          fix: `Try it with \`kws stack connect ${stack}\`.`,
        },
      );
    }
    if (clock() > deadline) {
      throw new UserError(`the gateway to the remote services did not connect in ${timeoutMs / 1000} s`, {
        code: "timeout",
        fix: `See \`kubectl describe pods -n ${namespace} -l kws.dev/remote=${stack}\`, and ${log}.`,
      });
    }
    await sleep(pauseMs, signal);
  }
}

/** Its events and its last failure, by the lines that it has written whole. */
async function whatItSaid(log: string): Promise<{ kind?: string; message?: string }[]> {
  const lines = (await readFile(log, "utf8")).split("\n").slice(0, -1);
  return lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { kind?: string; message?: string });
}

function logPath(
  ctx: Context,
  { provider, name }: ProviderStatus,
  { namespace, stack }: GatewayStack,
): string {
  const words = [provider, name, namespace, stack].map(encodeURIComponent);
  return join(ctx.locations.data, "remote", `${words.join("-")}.log`);
}

/** Detached, with what this process was told of workspace and cluster. */
async function startKeeper(
  ctx: Context,
  project: Project,
  cluster: ProviderStatus,
  at: GatewayStack,
): Promise<ChildProcess> {
  const path = logPath(ctx, cluster, at);
  await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
  const log = await open(path, "w", 0o600);
  const options = { ...ctx.globals, file: project.file.path, namespace: at.namespace };
  const flags = (["file", "namespace", "provider", "context", "kubeconfig", "cluster"] as const).flatMap(
    (name) => (options[name] === undefined ? [] : [`--${name}`, options[name]]),
  );
  try {
    const child = spawn(
      ctx.nodePath,
      [ctx.program, "stack", "connect", at.stack, ...flags, "--output", "json"],
      {
        cwd: ctx.cwd,
        env: ctx.env,
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
      },
    );
    await once(child, "spawn");
    child.unref();
    return child;
  } finally {
    await log.close();
  }
}

const exitMs = 10_000;

/** Of this machine; one of another machine notices that it has no lease any more. */
async function endKeeper(
  ctx: Context,
  client: KubeClient,
  cluster: ProviderStatus,
  at: GatewayStack,
): Promise<void> {
  const keeper = await findKeeper(client, at, { host: ctx.holder.host, now: ctx.clock() });
  if (keeper?.process !== undefined) {
    signalProcess(keeper.process, "SIGTERM");
    if (!(await waitForExit(keeper.process, exitMs))) signalProcess(keeper.process, "SIGKILL");
  }
  await dropKeeper(client, at);
  await rm(logPath(ctx, cluster, at), { force: true });
}

/** Nothing of it stays, here or in the cluster. */
async function disconnect(
  ctx: Context,
  client: KubeClient,
  cluster: ProviderStatus,
  at: GatewayStack,
): Promise<void> {
  await endKeeper(ctx, client, cluster, at);
  await removeGateway(client, at);
}

/** A stack's, in one namespace or in all. */
export async function disconnectStack(
  ctx: Context,
  { client }: Connection,
  provider: Provider,
  { stack, namespace }: { stack: string; namespace: string | undefined },
): Promise<void> {
  const gateways = await listGateways(client, { stack, signal: ctx.signal });
  const cluster = await provider.status();
  for (const gateway of gateways) {
    if (namespace === undefined || gateway.namespace === namespace) {
      await disconnect(ctx, client, cluster, gateway);
    }
  }
}

/** Before a cluster ends: what keeps its gateways connected would look for it for a while. */
export async function endKeepers(ctx: Context, provider: Provider): Promise<void> {
  const cluster = await provider.status();
  if (provider.name === "kubeconfig" || cluster.state !== "running") return;
  try {
    const { client } = await ctx.connect(provider);
    for (const gateway of await listGateways(client, { signal: ctx.signal })) {
      await endKeeper(ctx, client, cluster, gateway);
    }
  } catch (error) {
    // A cluster that is broken can be ended all the same.
    ctx.log.debug("remote services", { error: messageOf(error) });
  }
}

export interface RemoteStatus {
  service: string;
  stack: string;
  /** Where it is. */
  context: string;
  namespace: string;
  state: "connected" | "disconnected";
  /** Why it is disconnected. */
  problem?: string;
}

/** Of one stack, in one namespace or in all. */
export async function remoteStatuses(
  ctx: Context,
  client: KubeClient,
  { stack, namespace }: { stack: string | undefined; namespace: string | undefined },
): Promise<RemoteStatus[]> {
  const gateways = await listGateways(client, { stack, signal: ctx.signal });
  const found: RemoteStatus[] = [];
  for (const gateway of gateways) {
    if (namespace !== undefined && gateway.namespace !== namespace) continue;
    const problem = await problemOf(ctx, client, gateway);
    for (const service of new Set(gateway.objects.map((object) => object.service))) {
      found.push({
        service,
        stack: gateway.stack,
        ...gateway.place,
        ...(problem === undefined ? { state: "connected" } : { state: "disconnected", problem }),
      });
    }
  }
  return found;
}

async function problemOf(ctx: Context, client: KubeClient, gateway: Gateway): Promise<string | undefined> {
  const keeper = await findKeeper(client, gateway, { host: ctx.holder.host, now: ctx.clock() });
  if (keeper === undefined) {
    return `the process that keeps the remote services of ${gateway.stack} connected is gone; \`kws stack start ${gateway.stack}\` brings it back`;
  }
  if (await isConnected(client, gateway, ctx.signal)) return undefined;
  return `${keeper.by} has not connected the remote services of ${gateway.stack} yet`;
}
