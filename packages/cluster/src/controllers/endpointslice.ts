/**
 * EndpointSlices of Services with a selector: which pods serve each port, and in which condition
 * (https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/).
 */
import { isSame } from "@kws/kube/cached";
import { keyOf, type KubeObject } from "@kws/kube/object";
import { endpointSlices, pods as podResource, services as serviceResource } from "@kws/kube/resources";
import { matches, toRequirements } from "@kws/kube/selector";
import { byController, unnamed, watch, type Controller, type ControllerContext } from "./context.ts";
import { controllerReference, isFinished, isReady, type Pod } from "./pods.ts";

export interface Service extends KubeObject {
  spec: {
    type?: string;
    clusterIP?: string;
    selector?: Record<string, string>;
    publishNotReadyAddresses?: boolean;
    ports?: ServicePort[];
  };
}

interface ServicePort {
  name?: string;
  protocol?: string;
  port: number;
  targetPort?: number | string;
  appProtocol?: string;
}

export interface EndpointPort {
  name: string;
  protocol: string;
  port: number;
  appProtocol?: string;
}

export interface Endpoint {
  addresses: string[];
  conditions: { ready: boolean; serving: boolean; terminating: boolean };
  hostname?: string;
  nodeName?: string;
  targetRef?: { kind: string; name: string; namespace?: string; uid?: string };
}

export interface EndpointSlice extends KubeObject {
  addressType: string;
  ports: EndpointPort[] | null;
  endpoints: Endpoint[];
}

/** Endpoints that take the same ports share slices. */
export interface Group {
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

const managedBy = "endpointslice-controller.k8s.io";
const maxEndpoints = 100;

export function endpointSliceController(ctx: ControllerContext): Controller {
  const services = ctx.resource<Service>(serviceResource);
  const pods = ctx.resource<Pod>(podResource);
  const slices = ctx.resource<EndpointSlice>(endpointSlices);

  return {
    name: "endpointslice-controller",
    watches: [
      watch(services),
      watch(
        pods,
        servicesOf(() => services.list()),
        affectsEndpoints,
      ),
      watch(slices, (slice) =>
        slice.metadata.labels?.[label.managedBy] === managedBy ? byController("Service")(slice) : [],
      ),
    ],
    concurrency: 5,
    async reconcile({ namespace, name }) {
      const service = services.get(name, namespace);
      // Slices of a Service that is gone go by their owner reference.
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) return;
      if (!hasSelector(service)) return;
      const present = slices
        .ownedBy(service.metadata.uid)
        .filter((slice) => slice.metadata.labels?.[label.managedBy] === managedBy)
        .filter((slice) => slice.metadata.deletionTimestamp === undefined);
      const groups = groupsOf(service, selectedPods(service, pods.list(namespace)));
      const plan = planSlices(service, groups, present);
      // Additions first, so that nothing is missing in between.
      for (const slice of plan.create) await slices.create(slice);
      for (const slice of plan.update) await slices.update(slice);
      for (const slice of plan.remove) await slices.delete(slice);
    },
  };
}

export const label = {
  managedBy: "endpointslice.kubernetes.io/managed-by",
  serviceName: "kubernetes.io/service-name",
  headless: "service.kubernetes.io/headless",
} as const;

export function hasSelector({ spec }: Service): boolean {
  return spec.type !== "ExternalName" && Object.keys(spec.selector ?? {}).length > 0;
}

/** Keys of the Services whose selector takes the pod. */
export function servicesOf(list: () => Service[]): (pod: Pod) => string[] {
  return (pod) =>
    list()
      .filter((service) => service.metadata.namespace === pod.metadata.namespace && selectsPod(service, pod))
      .map(keyOf);
}

function selectsPod(service: Service, pod: Pod): boolean {
  return (
    hasSelector(service) &&
    matches(toRequirements({ matchLabels: service.spec.selector }), pod.metadata.labels)
  );
}

export function selectedPods(service: Service, pods: Pod[]): Pod[] {
  return pods.filter((pod) => selectsPod(service, pod));
}

/** Most pod updates (restart counts, probes' times) mean nothing to endpoints. */
export function affectsEndpoints(pod: Pod, old: Pod): boolean {
  const relevant = (one: Pod): unknown => [
    one.metadata.labels,
    one.metadata.deletionTimestamp,
    one.status?.podIP,
    one.status?.podIPs,
    one.spec.nodeName,
    isReady(one),
    isFinished(one),
  ];
  return !isSame(relevant(pod), relevant(old));
}

/** What the slices of a Service should hold, grouped by resolved ports. */
export function groupsOf(service: Service, pods: Pod[]): Group[] {
  const groups = new Map<string, Group>();
  for (const pod of pods) {
    if (isFinished(pod) || !pod.status?.podIP) continue;
    const ports = portsFor(service, pod);
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    group.endpoints.push(endpointOf(service, pod));
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** A named target port that the pod does not have is left out. */
export function portsFor(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec.ports ?? []).flatMap(
    ({ name = "", protocol = "TCP", port, targetPort, appProtocol }) => {
      const number = resolvePort(pod, targetPort ?? port, protocol);
      if (number === undefined) return [];
      return [{ name, protocol, port: number, ...(appProtocol === undefined ? {} : { appProtocol }) }];
    },
  );
}

interface Container {
  restartPolicy?: string;
  ports?: { name?: string; protocol?: string; containerPort: number }[];
}

function resolvePort(pod: Pod, target: number | string, protocol: string): number | undefined {
  if (typeof target === "number") return target;
  const sidecars = ((pod.spec["initContainers"] ?? []) as Container[]).filter(
    (one) => one.restartPolicy === "Always",
  );
  return [...((pod.spec["containers"] ?? []) as Container[]), ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .find((port) => port.name === target && (port.protocol ?? "TCP") === protocol)?.containerPort;
}

function endpointOf(service: Service, pod: Pod): Endpoint {
  const { name, namespace, uid } = pod.metadata;
  const serving = isReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  return {
    addresses: [pod.status?.podIP ?? ""],
    conditions: { ready, serving, terminating },
    ...hostnameOf(service, pod),
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: { kind: "Pod", name, namespace, uid },
  };
}

/** Only pods that name this Service as their subdomain have a name of their own under it. */
export function hostnameOf(service: Service, pod: Pod): { hostname?: string } {
  const { hostname, subdomain } = pod.spec;
  return hostname && subdomain === service.metadata.name ? { hostname } : {};
}

interface Plan {
  create: EndpointSlice[];
  update: EndpointSlice[];
  remove: EndpointSlice[];
}

/** Keeps endpoints in the slices where they are; a Service without any keeps one empty slice. Pure. */
export function planSlices(service: Service, groups: Group[], present: EndpointSlice[]): Plan {
  const plan: Plan = { create: [], update: [], remove: [] };
  const unused = new Set(present);
  const wanted = groups.length > 0 ? groups : [{ ports: [], endpoints: [] }];
  for (const { ports, endpoints } of wanted) {
    const mine = present.filter((slice) => unused.has(slice) && isSame(slice.ports ?? [], ports));
    const left = new Map(endpoints.map((endpoint) => [endpoint.targetRef?.uid, endpoint]));
    const kept = mine.map((slice) => {
      const stay: Endpoint[] = [];
      for (const { targetRef } of slice.endpoints ?? []) {
        const next = left.get(targetRef?.uid);
        if (next === undefined) continue;
        stay.push(next);
        left.delete(targetRef?.uid);
      }
      return { slice, stay };
    });
    const added = [...left.values()];
    for (const { slice, stay } of kept) {
      stay.push(...added.splice(0, Math.max(0, maxEndpoints - stay.length)));
      if (stay.length === 0 && endpoints.length > 0) continue;
      unused.delete(slice);
      const next = sliceOf(service, ports, stay, slice);
      if (!isSame(withoutServerFields(next), withoutServerFields(slice))) plan.update.push(next);
      if (endpoints.length === 0) break;
    }
    const empty = endpoints.length === 0 && mine.length === 0;
    while (added.length > 0 || (empty && plan.create.length === 0)) {
      plan.create.push(sliceOf(service, ports, added.splice(0, maxEndpoints)));
    }
  }
  plan.remove.push(...unused);
  return plan;
}

function withoutServerFields({ metadata, ports, endpoints }: EndpointSlice): object {
  return { labels: metadata.labels, ports: ports ?? [], endpoints: endpoints ?? [] };
}

function sliceOf(
  service: Service,
  ports: EndpointPort[],
  endpoints: Endpoint[],
  present?: EndpointSlice,
): EndpointSlice {
  const { name, namespace } = service.metadata;
  const labels = {
    ...service.metadata.labels,
    [label.serviceName]: name,
    [label.managedBy]: managedBy,
    ...(service.spec.clusterIP === "None" ? { [label.headless]: "" } : {}),
  };
  if (present !== undefined)
    return { ...present, metadata: { ...present.metadata, labels }, ports, endpoints };
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: unnamed({
      generateName: `${name}-`,
      namespace,
      labels,
      ownerReferences: [controllerReference(service)],
    }),
    addressType: "IPv4",
    ports,
    endpoints,
  };
}
