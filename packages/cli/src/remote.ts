/**
 * Services of a stack that are used from another cluster: found there before anything is changed, and made reachable here when the
 * stack starts.
 */
import type { ChildProcess } from "node:child_process";
import { UserError } from "@kws/base/errors";
import type { Steps } from "@kws/base/steps";
import { type Cluster, clusterOf } from "@kws/platform/attach/cluster";
import { applyGateway, type Gateway, readGateway } from "@kws/platform/attach/gateway";
import { findKeeper } from "@kws/platform/attach/keeper";
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
import { disconnect, endKeeper, logPath, startKeeper, untilConnected } from "./keeping.ts";

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
        const waiting = { signal, timeoutMs, clock: ctx.clock };
        const objects = found.objects.filter(({ service }) => service === name);
        try {
          const onProgress = (text: string) => handle.detail(text);
          await untilRemoteReady({ ...found, ...waiting, objects, onProgress });
          connected ??= untilConnected({
            ...waiting,
            client,
            gateway,
            keeper,
            log: logPath(ctx, cluster, at),
          });
          await connected;
        } catch (error) {
          if (signal.aborted) handle.skip("given up");
          throw error;
        }
      });
    },
  };
}
