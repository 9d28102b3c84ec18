/**
 * Watches Services, EndpointSlices, Pods, NetworkPolicies and Ingresses, and keeps the data plane, the Ingress listener and the
 * host's ports in step with them.
 */
import { isDeepStrictEqual } from "node:util";
import { messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import type { KubeClient, Resource } from "@kws/kube/client";
import { createEventRecorder } from "@kws/kube/events";
import { Informer, type SharedInformers } from "@kws/kube/informer";
import { keyOf, type KubeObject } from "@kws/kube/object";
import {
  endpointSlices,
  ingressClasses,
  ingresses,
  namespaces,
  networkPolicies,
  pods,
  services,
} from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { Runtime } from "../kubelet/runtime.ts";
import { IngressCertificates, type KeyPair } from "./certificates.ts";
import { HostPorts, type HostPort } from "./hostports.ts";
import { IngressListener } from "./ingress.ts";
import { IngressMetrics } from "./ingress-metrics.ts";
import { policyState, type NetworkPolicy } from "./policies.ts";
import { endpointsOf, networkState, type Endpoint, type EndpointSlice, type Service } from "./records.ts";
import { routesOf, type Ingress, type Route } from "./routes.ts";
import type { NetworkDataplane } from "./state.ts";

export interface NetworkOptions {
  client: KubeClient;
  dataplane: NetworkDataplane;
  runtime: Pick<Runtime, "dial">;
  /**
   * The first port to try, the second one before those that follow the first, and for TLS `tlsPort` (8443 unless given) with
   * the certificate for hosts that no Ingress has one for.
   */
  ingress: { port: number; secondPort?: number; tlsPort?: number; certificate: KeyPair };
  /** Copies that others in the process watch too; own ones unless given. */
  informers?: SharedInformers;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  signal: AbortSignal;
}

export interface Network {
  ingress: {
    port: number;
    /** The port that was asked for is taken by another program. */
    moved: boolean;
    tlsPort: number;
    metrics: IngressMetrics;
  };
  close(): Promise<void>;
}

const className = "kws";
const classController = "kws.dev/ingress";
const defaultClass = "ingressclass.kubernetes.io/is-default-class";
/** Changes within this many milliseconds are applied together. */
const coalesceMs = 4;

/** Resolves when the Ingress ports listen and the data plane knows the first picture. */
export async function startNetwork(options: NetworkOptions): Promise<Network> {
  const { client, dataplane, runtime, logger, now } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const recorder = createEventRecorder({ client, component: "kws-network", now, logger });
  const watchAll = <T extends KubeObject>(resource: Resource) =>
    options.informers?.of<T>(resource) ?? new Informer<T>(client, resource, { logger, signal });
  const watched = {
    services: watchAll<Service>(services),
    slices: watchAll<EndpointSlice>(endpointSlices),
    pods: watchAll(pods),
    policies: watchAll<NetworkPolicy>(networkPolicies),
    namespaces: watchAll(namespaces),
    ingresses: watchAll<Ingress>(ingresses),
    classes: watchAll(ingressClasses),
  };
  watched.slices.addIndex("service", (slice) => {
    const name = slice.metadata.labels?.["kubernetes.io/service-name"];
    return name === undefined ? [] : [`${slice.metadata.namespace}/${name}`];
  });
  const certificates = new IngressCertificates(client, logger, signal);
  let routes: Route[] = [];

  const endpoints = (route: Route): Endpoint[] | undefined => {
    const { name = "", port } = route.backend.service ?? {};
    const service = watched.services.get(name, route.namespace);
    const found = service?.spec.ports?.find((candidate) =>
      port?.name ? candidate.name === port.name : candidate.port === port?.number,
    );
    if (found === undefined) return undefined;
    return endpointsOf(
      watched.slices.byIndex("service", `${route.namespace}/${name}`),
      found.name,
      found.protocol,
    );
  };
  const dial = runtime.dial.bind(runtime);
  const metrics = new IngressMetrics();
  const listener = new IngressListener({
    metrics,
    dial,
    routes: () => routes,
    endpoints,
    secureContext: (name) => certificates.find(name),
    logger,
  });
  const taken = new Set<number>();
  const owners = new Map<number, KubeObject>();
  const hostPorts = new HostPorts(dial, (port, message) => {
    const owner = owners.get(port);
    if (owner === undefined || taken.has(port)) return;
    taken.add(port);
    const text = `port ${port} is not served on 127.0.0.1: ${message}; end the program that has it or choose another port`;
    recorder.event(owner, "Warning", "PortTaken", text);
  });

  const applyNetwork = async () => {
    const slices = new Map<string, EndpointSlice[]>();
    const list = watched.services.list();
    for (const service of list) {
      const key = keyOf(service);
      slices.set(key, watched.slices.byIndex("service", key));
    }
    const all = watched.policies.list();
    const policies = policyState(all, watched.pods.list(), watched.namespaces.list());
    const unenforced = await dataplane.apply({
      ...networkState(list, slices, watched.pods.list()),
      policies,
    });
    if (unenforced !== undefined) for (const policy of all) warn(policy, unenforced);
  };
  const warned = new WeakSet<NetworkPolicy>();
  const warn = (policy: NetworkPolicy, reason: string) => {
    if (warned.has(policy)) return;
    warned.add(policy);
    recorder.event(policy, "Warning", "NotEnforced", `the policy is kept and not enforced: ${reason}`);
  };
  const applyHostPorts = async () => {
    owners.clear();
    const wanted: HostPort[] = [];
    for (const service of watched.services.list()) {
      const { type, ports = [] } = service.spec;
      if (type !== "NodePort" && type !== "LoadBalancer") continue;
      for (const { name, port, nodePort, protocol = "TCP" } of ports) {
        if (protocol !== "TCP") continue;
        const own = () => endpointsOf(watched.slices.byIndex("service", keyOf(service)), name, protocol);
        for (const number of type === "LoadBalancer" ? [port, nodePort] : [nodePort]) {
          if (number === undefined || owners.has(number)) continue;
          owners.set(number, service);
          wanted.push({ port: number, endpoints: own });
        }
      }
      if (type === "LoadBalancer") await publish(client, services, service, { ip: "127.0.0.1" });
    }
    for (const pod of watched.pods.list()) {
      for (const { hostPort, containerPort } of hostPortsOf(pod)) {
        if (owners.has(hostPort)) continue;
        owners.set(hostPort, pod);
        const address = String(pod.status?.podIP);
        wanted.push({ port: hostPort, endpoints: () => [{ address, port: containerPort }] });
      }
    }
    hostPorts.apply(wanted);
  };
  const applyIngresses = async () => {
    const own = watched.ingresses.list().filter((ingress) => isOurs(ingress, watched.classes.list()));
    routes = routesOf(own);
    certificates.track(own);
    for (const ingress of own)
      await publish(client, ingresses, ingress, { ip: "127.0.0.1", hostname: "localhost" });
  };

  const coalesced = (work: () => Promise<void>) => coalesce(work, logger, signal);
  const network = coalesced(applyNetwork);
  const ports = coalesced(applyHostPorts);
  const routing = coalesced(applyIngresses);
  on(watched.services, network, ports);
  on(watched.slices, network);
  const addressed = (pod: KubeObject) => {
    network();
    if (hostPortsOf(pod).length > 0) ports();
  };
  watched.pods.subscribe({
    add: addressed,
    delete: addressed,
    update: (pod, old) => {
      if (pod.status?.podIP !== old.status?.podIP || pod.status?.phase !== old.status?.phase) addressed(pod);
      else if (!isDeepStrictEqual(pod.metadata.labels, old.metadata.labels)) network();
    },
  });
  on(watched.policies, network);
  on(watched.namespaces, network);
  on(watched.ingresses, routing);
  on(watched.classes, routing);

  await Promise.all(Object.values(watched).map((informer) => informer.synced()));
  if (!watched.classes.list().some(({ metadata }) => metadata.name === className)) await createClass(client);
  const port = await listener.listen(options.ingress.port, { second: options.ingress.secondPort });
  const tlsPort = await listener.listen(options.ingress.tlsPort ?? 8443, {
    certificate: options.ingress.certificate,
  });
  await applyNetwork();
  return {
    ingress: { port, moved: options.ingress.port !== 0 && port !== options.ingress.port, tlsPort, metrics },
    async close() {
      stop.abort();
      hostPorts.close();
      await listener.close();
    },
  };
}

/** TCP `hostPort`s of a running pod; one in the host's own network has its ports there anyway. */
function hostPortsOf(pod: KubeObject): { hostPort: number; containerPort: number }[] {
  if (pod.spec?.hostNetwork === true || pod.status?.phase !== "Running" || !pod.status.podIP) return [];
  type Port = { hostPort?: number; containerPort: number; protocol?: string };
  const found: { hostPort: number; containerPort: number }[] = [];
  for (const container of (pod.spec?.containers ?? []) as { ports?: Port[] }[]) {
    for (const { hostPort, containerPort, protocol = "TCP" } of container.ports ?? []) {
      if (hostPort && protocol === "TCP") found.push({ hostPort, containerPort });
    }
  }
  return found;
}

function on<T extends KubeObject>(informer: Informer<T>, ...work: (() => void)[]): void {
  const all = () => {
    for (const one of work) one();
  };
  informer.subscribe({ add: all, update: all, delete: all });
}

/** Calls `work` soon, once for all calls that come meanwhile, never twice at a time; a failure is retried after a second. */
function coalesce(work: () => Promise<void>, logger: Logger, signal: AbortSignal): () => void {
  let wanted = false;
  let busy = false;
  const run = async () => {
    while (wanted && !signal.aborted) {
      wanted = false;
      try {
        await work();
      } catch (error) {
        if (signal.aborted) return;
        logger.warn("network not applied", { error: messageOf(error) });
        setTimeout(request, 1000).unref();
      }
    }
    busy = false;
  };
  const request = () => {
    wanted = true;
    if (busy) return;
    busy = true;
    setTimeout(() => void run(), coalesceMs);
  };
  return request;
}

function isOurs(ingress: Ingress, classes: KubeObject[]): boolean {
  const name = ingress.spec.ingressClassName ?? ingress.metadata.annotations?.["kubernetes.io/ingress.class"];
  const chosen = name
    ? classes.find(({ metadata }) => metadata.name === name)
    : classes.find(({ metadata }) => metadata.annotations?.[defaultClass] === "true");
  return chosen?.spec?.controller === classController;
}

async function createClass(client: KubeClient): Promise<void> {
  try {
    await client.create(ingressClasses, {
      apiVersion: "networking.k8s.io/v1",
      kind: "IngressClass",
      metadata: { name: className, annotations: { [defaultClass]: "true" } },
      spec: { controller: classController },
    });
  } catch (error) {
    if (!isApiError(error, "AlreadyExists")) throw error;
  }
}

/** Says in the status where the object is reached. */
async function publish(
  client: KubeClient,
  resource: Resource,
  object: KubeObject,
  address: object,
): Promise<void> {
  const wanted = [address];
  if (JSON.stringify(object.status?.loadBalancer?.ingress ?? []) === JSON.stringify(wanted)) return;
  const { name, namespace } = object.metadata;
  const patch = { status: { loadBalancer: { ingress: wanted } } };
  try {
    await client.patch(resource, name, namespace, "merge", patch, { subresource: "status" });
  } catch (error) {
    if (!isApiError(error, "NotFound", "Conflict")) throw error;
  }
}
