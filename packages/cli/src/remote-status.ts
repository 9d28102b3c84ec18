/** How the services are that stacks use from other clusters. */
import { messageOf } from "@kws/base/errors";
import type { KubeClient } from "@kws/kube/client";
import { type Gateway, listGateways } from "@kws/platform/attach/gateway";
import { findKeeper, isConnected } from "@kws/platform/attach/keeper";
import { remoteBackends } from "@kws/platform/attach/remote";
import type { Context } from "./context.ts";

export interface RemoteStatus {
  service: string;
  stack: string;
  /** Where it is. */
  context: string;
  namespace: string;
  state: "ready" | "unreachable";
  /** Why it is unreachable. */
  problem?: string;
}

/** Of one stack, in one namespace or in all. The other cluster is asked. */
export async function remoteStatuses(
  ctx: Context,
  client: KubeClient,
  { stack, namespace }: { stack: string | undefined; namespace: string | undefined },
): Promise<RemoteStatus[]> {
  const gateways = await listGateways(client, { stack, signal: ctx.signal });
  const found: RemoteStatus[] = [];
  for (const gateway of gateways) {
    if (namespace !== undefined && gateway.namespace !== namespace) continue;
    const problemOf = await askGateway(ctx, client, gateway);
    for (const service of new Set(gateway.objects.map((object) => object.service))) {
      const problem = await problemOf(service);
      const known = { service, stack: gateway.stack, ...gateway.place };
      found.push(
        problem === undefined ? { ...known, state: "ready" } : { ...known, state: "unreachable", problem },
      );
    }
  }
  return found;
}

/** Answers what is wrong with one of its services. */
async function askGateway(
  ctx: Context,
  client: KubeClient,
  gateway: Gateway,
): Promise<(service: string) => Promise<string | undefined>> {
  const { stack, place, objects } = gateway;
  const always = (problem: string) => () => Promise.resolve(problem);
  const keeper = await findKeeper(client, gateway, { host: ctx.holder.host, now: ctx.clock() });
  if (keeper === undefined) {
    return always(
      `the process that keeps the remote services of ${stack} connected is gone; \`kws stack start ${stack}\` brings it back`,
    );
  }
  if (!(await isConnected(client, gateway, ctx.signal)))
    return always(`${keeper.by} has not connected the remote services of ${stack} yet`);
  const where = `${place.namespace} of ${place.context}`;
  try {
    const provider = await ctx.contextProvider(place.context);
    await provider.start({ signal: ctx.signal });
    const { client: there } = await ctx.connect(provider);
    const backends = await Promise.all(
      objects.map((object) => remoteBackends(there, place, object, ctx.signal)),
    );
    const without = objects.filter((_, index) => backends[index]?.length === 0);
    return async (name) => {
      const bare = without.find(({ service }) => service === name);
      return bare === undefined ? undefined : `the Service ${bare.name} has no ready pod in ${where}`;
    };
  } catch (error) {
    ctx.signal.throwIfAborted();
    return always(`${where}: ${messageOf(error)}`);
  }
}

/** The names of those that are used from elsewhere, as `stack/service`; no other cluster is asked. */
export async function usedFromElsewhere(
  ctx: Context,
  client: KubeClient,
  { stack, namespace }: { stack: string | undefined; namespace: string | undefined },
): Promise<Set<string>> {
  const gateways = await listGateways(client, { stack, signal: ctx.signal });
  return new Set(
    gateways
      .filter((gateway) => namespace === undefined || gateway.namespace === namespace)
      .flatMap((gateway) => gateway.objects.map(({ service }) => `${gateway.stack}/${service}`)),
  );
}
