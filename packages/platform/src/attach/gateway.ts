/**
 * The gateway of a stack to the cluster that has its remote services: one pod, and for each of those Services one of the same
 * name and ports that leads to it. All belong to one Secret, which says what the gateway is for.
 */
import { createHash, randomBytes } from "node:crypto";
import { UserError } from "@kws/base/errors";
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { deployments, leases, secrets, services } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { fieldManager, managedByLabel, remoteLabel, serviceLabel, stackLabel } from "../services/labels.ts";
import { serviceOf } from "../services/workloads.ts";
import { programRun } from "./objects.ts";
import { clusterProgram } from "./program.ts";
import type { GatewayConfig } from "./proxy/gateway.ts";
import type { RemoteObject, RemotePlace } from "./remote.ts";

/** Where a stack is. */
export interface GatewayStack {
  stack: string;
  namespace: string;
}

export interface Gateway extends GatewayStack {
  place: RemotePlace;
  objects: RemoteObject[];
  config: GatewayConfig;
  /** Of the pods that have this configuration. */
  revision: string;
}

/** Of the Secret, the Deployment and the Lease. */
export function gatewayName(stack: string): string {
  return `kws-remote-${stack}`;
}

/** On the gateway's pods. */
export const revisionAnnotation = "kws.dev/remote-revision";

const useKey = "remote.json";
const configKey = "config.json";

export async function readGateway(client: KubeClient, at: GatewayStack): Promise<Gateway | undefined> {
  const found = await client.find(secrets, gatewayName(at.stack), at.namespace);
  return found === undefined ? undefined : gatewayOf(found);
}

/** In all namespaces: one stack's, or all. */
export async function listGateways(
  client: KubeClient,
  { stack, signal }: { stack?: string | undefined; signal: AbortSignal },
): Promise<Gateway[]> {
  const labelSelector = stack === undefined ? remoteLabel : `${remoteLabel}=${stack}`;
  const { items } = await client.list(secrets, undefined, { labelSelector, signal });
  return items.map(gatewayOf);
}

function gatewayOf({ metadata, data }: KubeObject): Gateway {
  const read = (key: string) =>
    Buffer.from(String((data as Record<string, string>)[key]), "base64").toString("utf8");
  const { place, objects } = JSON.parse(read(useKey)) as Pick<Gateway, "place" | "objects">;
  return {
    stack: metadata.labels?.[remoteLabel] ?? "",
    namespace: metadata.namespace ?? "",
    place,
    objects,
    config: JSON.parse(read(configKey)) as GatewayConfig,
    revision: metadata.annotations?.[revisionAnnotation] ?? "",
  };
}

/** The way to a port, as gateway and laptop name it to each other. */
export function pathOf(object: string, port: number): string {
  return `/${object}/${port}`;
}

const control = 15_900;
const ready = 15_901;
const firstListen = 20_000;

/** Ports that were there keep their numbers, so that what is unchanged is not written again. */
function configure(objects: RemoteObject[], before: GatewayConfig | undefined): GatewayConfig {
  const known = new Map(before?.routes.map(({ path, listen }) => [path, listen]));
  const taken = new Set(known.values());
  let next = firstListen;
  const free = () => {
    while (taken.has(next)) next++;
    taken.add(next);
    return next;
  };
  const paths = objects.flatMap(({ name, ports }) => ports.map(({ port }) => pathOf(name, port)));
  return {
    token: before?.token ?? randomBytes(24).toString("hex"),
    control,
    ready,
    routes: paths.map((path) => ({ listen: known.get(path) ?? free(), path })),
  };
}

export interface ApplyOptions extends GatewayStack {
  client: KubeClient;
  place: RemotePlace;
  objects: RemoteObject[];
  image: string;
  before: Gateway | undefined;
}

/** Makes the gateway what it is to be, or leaves it; it is another one where its `revision` is. */
export async function applyGateway(options: ApplyOptions): Promise<Gateway> {
  const { client, stack, namespace, place, image, before } = options;
  const objects = options.objects.toSorted((a, b) => a.name.localeCompare(b.name));
  const config = configure(objects, before?.config);
  const program = await clusterProgram("gateway");
  const files = {
    ...program.files,
    [configKey]: JSON.stringify(config),
    [useKey]: JSON.stringify({ place, objects }),
  };
  const revision = createHash("sha256")
    .update(JSON.stringify([files, image]))
    .digest("hex")
    .slice(0, 16);
  const gateway = { stack, namespace, place, objects, config, revision };
  await refuseForeign(options);
  const apply = (resource: Resource, desired: KubeObject) =>
    client.apply(resource, desired, { fieldManager, force: true });
  const owner = await apply(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { ...metadataOf(gateway), annotations: { [revisionAnnotation]: revision } },
    type: "Opaque",
    data: Object.fromEntries(
      Object.entries(files).map(([name, text]) => [name, Buffer.from(text).toString("base64")]),
    ),
  });
  await apply(deployments, deploymentOf(gateway, owner, { image, main: program.main }));
  for (const object of objects) await apply(services, serviceFor(gateway, owner, object));
  await removeServices(options, new Set(objects.map(({ name }) => name)));
  return gateway;
}

function metadataOf({ stack, namespace }: GatewayStack, owner?: KubeObject): KubeObject["metadata"] {
  const { name = "", uid = "" } = owner?.metadata ?? {};
  return {
    name: gatewayName(stack),
    namespace,
    labels: { [managedByLabel]: fieldManager, [stackLabel]: stack, [remoteLabel]: stack },
    ...(owner === undefined ? {} : { ownerReferences: [{ apiVersion: "v1", kind: "Secret", name, uid }] }),
  };
}

function deploymentOf(
  gateway: Gateway,
  owner: KubeObject,
  { image, main }: { image: string; main: string },
): KubeObject {
  const { stack, config, revision } = gateway;
  const labels = { [remoteLabel]: stack };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: metadataOf(gateway, owner),
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: labels },
      template: {
        metadata: { labels, annotations: { [revisionAnnotation]: revision } },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 1,
          ...programRun(gatewayName(stack), {
            image,
            main,
            ports: config.routes.map(({ listen }) => ({ containerPort: listen })),
            // A tunnel that is lost for a moment is no reason to refuse connections, which wait for it.
            readinessProbe: {
              httpGet: { path: "/", port: config.ready },
              periodSeconds: 1,
              failureThreshold: 10,
            },
          }),
        },
      },
    },
  };
}

function serviceFor(gateway: Gateway, owner: KubeObject, { service, name, ports }: RemoteObject): KubeObject {
  const metadata = metadataOf(gateway, owner);
  const listenOf = new Map(gateway.config.routes.map(({ path, listen }) => [path, listen]));
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { ...metadata, name, labels: { ...metadata.labels, [serviceLabel]: service } },
    spec: {
      type: "ClusterIP",
      selector: { [remoteLabel]: gateway.stack },
      ports: ports.map((port) => ({ ...port, targetPort: listenOf.get(pathOf(name, port.port)) })),
    },
  };
}

/** A Service that is there is somebody's. */
async function refuseForeign({ client, stack, namespace, objects }: ApplyOptions): Promise<void> {
  for (const { service, name } of objects) {
    const found = await client.find(services, name, namespace);
    if (found === undefined || found.metadata.labels?.[remoteLabel] === stack) continue;
    const owner = serviceOf(found);
    throw new UserError(
      `${service} is to be used from another cluster, and the namespace ${namespace} has a Service ${name} already`,
      {
        code: "conflict",
        fix:
          owner === undefined
            ? "Remove that Service, or give the stack a namespace of its own."
            : `It is installed here: remove it with \`kws service remove ${owner} --stack ${stack}\`, or keep it with \`--local ${owner}\`.`,
      },
    );
  }
}

async function removeServices(
  { client, stack, namespace }: GatewayStack & { client: KubeClient },
  kept: Set<string>,
): Promise<void> {
  const { items } = await client.list(services, namespace, { labelSelector: `${remoteLabel}=${stack}` });
  for (const { metadata } of items) {
    if (!kept.has(metadata.name)) await remove(client, services, metadata.name, namespace);
  }
}

/** Its lease goes first: whoever keeps the gateway ends then. */
export async function removeGateway(client: KubeClient, at: GatewayStack): Promise<void> {
  const name = gatewayName(at.stack);
  await remove(client, leases, name, at.namespace);
  // Not left to the garbage collector: what is installed next may have these names.
  await removeServices({ ...at, client }, new Set());
  await remove(client, deployments, name, at.namespace);
  await remove(client, secrets, name, at.namespace);
}

async function remove(
  client: KubeClient,
  resource: Resource,
  name: string,
  namespace: string,
): Promise<void> {
  try {
    await client.delete(resource, name, namespace, { propagationPolicy: "Background" });
  } catch (error) {
    if (!isApiError(error, "NotFound")) throw error;
  }
}
