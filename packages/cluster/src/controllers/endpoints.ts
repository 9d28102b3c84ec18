/**
 * The older Endpoints objects, which clients still read, and EndpointSlices that mirror Endpoints which people write for
 * Services without a selector.
 */
import { isSame } from "@kws/kube/cached";
import { keyOf, type KubeObject } from "@kws/kube/object";
import {
  endpoints as endpointsResource,
  endpointSlices,
  pods as podResource,
  services as serviceResource,
} from "@kws/kube/resources";
import { unnamed, watch, type Controller, type ControllerContext } from "./context.ts";
import {
  affectsEndpoints,
  groupsOf,
  hasSelector,
  label,
  selectedPods,
  servicesOf,
  type Endpoint,
  type EndpointPort,
  type EndpointSlice,
  type Group,
  type Service,
} from "./endpointslice.ts";
import { controllerReference, type Pod } from "./pods.ts";

interface Address {
  ip: string;
  hostname?: string;
  nodeName?: string;
  targetRef?: { kind: string; name: string; namespace?: string; uid?: string };
}

interface Subset {
  addresses?: Address[];
  notReadyAddresses?: Address[];
  ports?: { name?: string; protocol?: string; port: number; appProtocol?: string }[];
}

export interface Endpoints extends KubeObject {
  subsets?: Subset[];
}

const maxAddresses = 1_000;
const mirroredBy = "endpointslicemirroring-controller.k8s.io";

export function endpointsController(ctx: ControllerContext): Controller {
  const services = ctx.resource<Service>(serviceResource);
  const pods = ctx.resource<Pod>(podResource);
  const endpoints = ctx.resource<Endpoints>(endpointsResource);

  return {
    name: "endpoint-controller",
    watches: [
      watch(services),
      watch(
        pods,
        servicesOf(() => services.list()),
        affectsEndpoints,
      ),
      watch(endpoints),
    ],
    concurrency: 5,
    async reconcile({ namespace, name }) {
      const service = services.get(name, namespace);
      const present = endpoints.get(name, namespace);
      if (service === undefined) {
        // Endpoints have no owner reference: they go with the Service of their name, unless people wrote them.
        if (present?.metadata.labels?.[managedByLabel] === managedByValue) await endpoints.delete(present);
        return;
      }
      if (!hasSelector(service) || service.metadata.deletionTimestamp !== undefined) return;
      const wanted = desiredEndpoints(service, selectedPods(service, pods.list(namespace)));
      if (present === undefined) {
        await endpoints.create(wanted);
      } else if (
        !isSame(present.subsets ?? [], wanted.subsets) ||
        !isSame(present.metadata.labels, wanted.metadata.labels)
      ) {
        await endpoints.update({
          ...present,
          metadata: { ...present.metadata, labels: wanted.metadata.labels },
          subsets: wanted.subsets,
        });
      }
    },
  };
}

const managedByLabel = "endpoints.kubernetes.io/managed-by";
const managedByValue = "endpoint-controller";

/** Pods on their way out are left out unless the Service publishes whatever is there. */
export function desiredEndpoints(service: Service, pods: Pod[]): Endpoints {
  const staying = pods.filter(
    (pod) => service.spec.publishNotReadyAddresses === true || pod.metadata.deletionTimestamp === undefined,
  );
  const subsets = groupsOf(service, staying)
    .filter(({ ports }) => ports.length > 0 || (service.spec.ports ?? []).length === 0)
    .map(subsetOf);
  const { name, namespace } = service.metadata;
  const headless: Record<string, string> = service.spec.clusterIP === "None" ? { [label.headless]: "" } : {};
  const labels = { ...service.metadata.labels, ...headless, [managedByLabel]: managedByValue };
  return { apiVersion: "v1", kind: "Endpoints", metadata: { name, namespace, labels }, subsets };
}

function subsetOf({ ports, endpoints }: Group): Subset {
  const sorted = [...endpoints].sort((a, b) => (a.addresses[0] ?? "").localeCompare(b.addresses[0] ?? ""));
  const ready = sorted.filter((endpoint) => endpoint.conditions.ready).slice(0, maxAddresses);
  const notReady = sorted.filter((endpoint) => !endpoint.conditions.ready);
  return {
    ...(ready.length === 0 ? {} : { addresses: ready.map(addressOf) }),
    ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady.map(addressOf) }),
    ...(ports.length === 0 ? {} : { ports: ports.map(withoutEmptyName) }),
  };
}

function addressOf({ addresses: [ip = ""], hostname, nodeName, targetRef }: Endpoint): Address {
  return {
    ip,
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName === undefined ? {} : { nodeName }),
    targetRef,
  };
}

function mirroredEndpoint({ address, ready }: { address: Address; ready: boolean }): Endpoint {
  const { ip, ...rest } = address;
  return { addresses: [ip], conditions: { ready, serving: ready, terminating: false }, ...rest };
}

function mirroredPort({
  name = "",
  protocol = "TCP",
  ...rest
}: NonNullable<Subset["ports"]>[number]): EndpointPort {
  return { name, protocol, ...rest };
}

function withoutEmptyName({ name, ...port }: EndpointPort): NonNullable<Subset["ports"]>[number] {
  return name === "" ? port : { name, ...port };
}

export function endpointSliceMirroringController(ctx: ControllerContext): Controller {
  const services = ctx.resource<Service>(serviceResource);
  const endpoints = ctx.resource<Endpoints>(endpointsResource);
  const slices = ctx.resource<EndpointSlice>(endpointSlices);
  const mirrorsOf = (slice: EndpointSlice): string[] => {
    const name = slice.metadata.labels?.[label.serviceName];
    return slice.metadata.labels?.[label.managedBy] === mirroredBy && name !== undefined
      ? [`${slice.metadata.namespace}/${name}`]
      : [];
  };

  return {
    name: "endpointslice-mirroring-controller",
    watches: [watch(services, (service) => [keyOf(service)]), watch(endpoints), watch(slices, mirrorsOf)],
    async reconcile({ namespace, name }) {
      const service = services.get(name, namespace);
      const source = endpoints.get(name, namespace);
      const present = slices
        .list(namespace)
        .filter((slice) => mirrorsOf(slice).includes(`${namespace}/${name}`));
      const mirrored =
        service !== undefined &&
        Object.keys(service.spec.selector ?? {}).length === 0 &&
        source !== undefined &&
        source.metadata.deletionTimestamp === undefined &&
        source.metadata.labels?.["endpointslice.kubernetes.io/skip-mirror"] !== "true" &&
        source.metadata.annotations?.["control-plane.alpha.kubernetes.io/leader"] === undefined;
      const wanted = mirrored ? (source.subsets ?? []).flatMap((subset) => mirrorOf(source, subset)) : [];
      for (const slice of wanted) {
        const same = present.findIndex(
          (other) => isSame(other.ports, slice.ports) && other.addressType === slice.addressType,
        );
        const [old] = same < 0 ? [] : present.splice(same, 1);
        if (old === undefined) await slices.create(slice);
        else if (!isSame(old.endpoints, slice.endpoints))
          await slices.update({ ...old, endpoints: slice.endpoints });
      }
      for (const slice of present) await slices.delete(slice);
    },
  };
}

function mirrorOf(source: Endpoints, subset: Subset): EndpointSlice[] {
  const { name, namespace } = source.metadata;
  const ports = (subset.ports ?? []).map(mirroredPort);
  const all = [
    ...(subset.addresses ?? []).map((address) => ({ address, ready: true })),
    ...(subset.notReadyAddresses ?? []).map((address) => ({ address, ready: false })),
  ];
  return ["IPv4", "IPv6"].flatMap((addressType) => {
    const mine = all.filter(({ address }) => address.ip.includes(":") === (addressType === "IPv6"));
    if (mine.length === 0) return [];
    return {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: unnamed({
        generateName: `${name}-`,
        namespace,
        labels: { ...source.metadata.labels, [label.serviceName]: name, [label.managedBy]: mirroredBy },
        ownerReferences: [controllerReference(source)],
      }),
      addressType,
      ports,
      endpoints: mine.map(mirroredEndpoint),
    };
  });
}
