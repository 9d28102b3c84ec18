/** Services of another cluster, as a stack uses them: found by name and awaited there, and never changed. */
import { messageOf, UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { KubeClient } from "@kws/kube/client";
import { openPodPort, type PodPort } from "@kws/kube/port-forward";
import { services } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { findBackends, kubeServicesOf, portsOf } from "./backends.ts";
import type { Cluster } from "./cluster.ts";

/** Where a stack's remote services are. */
export interface RemotePlace {
  /** Of the kubeconfig. */
  context: string;
  namespace: string;
}

export interface RemotePort {
  name?: string | undefined;
  port: number;
  appProtocol?: string | undefined;
}

/** A Kubernetes Service of a service there, with its TCP ports: the Kubernetes API carries no others. */
export interface RemoteObject {
  service: string;
  /** The Service's, which is its name here as well. */
  name: string;
  ports: RemotePort[];
}

/** Those that Helm says are the service's, or else the one of its name; none where it has none with a TCP port. */
export async function findRemote(
  client: KubeClient,
  service: string,
  namespace: string,
  signal: AbortSignal,
): Promise<RemoteObject[]> {
  const own = await kubeServicesOf(client, service, namespace, signal);
  const named = own.length > 0 ? undefined : await client.find(services, service, namespace);
  return [...own, ...(named === undefined ? [] : [named])]
    .map((object) => ({
      service,
      name: object.metadata.name,
      ports: portsOf(object)
        .filter(({ protocol = "TCP" }) => protocol === "TCP")
        .map(({ name, port, appProtocol }) => ({ name, port, appProtocol })),
    }))
    .filter(({ ports }) => ports.length > 0);
}

export interface RemoteReadyOptions {
  /** That has the services. */
  cluster: Cluster;
  place: RemotePlace;
  objects: RemoteObject[];
  signal: AbortSignal;
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  onProgress: (text: string) => void;
}

const pauseMs = 500;

/** Until a connection to a ready pod can be had behind each of the Services. */
export async function untilRemoteReady(options: RemoteReadyOptions): Promise<void> {
  const { cluster, place, signal, clock } = options;
  const deadline = clock() + options.timeoutMs;
  for (const object of options.objects) {
    const { service } = object;
    for (let told = ""; ;) {
      const missing = await whatIsMissing(cluster, place, object, signal);
      if (missing === undefined) break;
      if (missing !== told) options.onProgress(missing);
      told = missing;
      if (clock() > deadline) {
        throw new UserError(
          `${service} is not ready in the namespace ${place.namespace} of the context ${place.context}: ${missing}`,
          {
            code: "timeout",
            fix: `Have it mended there, start it here with \`--local ${service}\`, or wait longer with --timeout.`,
          },
        );
      }
      await sleep(pauseMs, signal);
    }
  }
}

/** The ready pods behind a Service's first port. */
export function remoteBackends(
  client: KubeClient,
  { namespace }: RemotePlace,
  { service, name, ports }: RemoteObject,
  signal: AbortSignal,
): Promise<PodPort[]> {
  const target = { service, namespace, kubeService: name, port: ports[0]?.port ?? 0 };
  return findBackends(client, target, signal);
}

async function whatIsMissing(
  cluster: Cluster,
  place: RemotePlace,
  object: RemoteObject,
  signal: AbortSignal,
): Promise<string | undefined> {
  const [backend] = await remoteBackends(cluster.client, place, object, signal);
  if (backend === undefined) return `the Service ${object.name} has no ready pod`;
  try {
    const wire = await openPodPort(cluster.access, backend, signal);
    wire.on("error", () => {});
    wire.destroy();
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (!isApiError(error, "Forbidden")) return messageOf(error);
    throw new UserError(`the context ${place.context} may not forward ports: ${messageOf(error)}`, {
      code: "permission",
      fix: `Ask for the right to get and create pods/portforward in the namespace ${place.namespace}.`,
      cause: error,
    });
  }
}
