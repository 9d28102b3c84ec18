/** Every stored kind goes through the operations that the conformance suite asks of each of them. */
import { json } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { builtinResources } from "./resources/index.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { createServiceAccount } from "./testing/server.ts";
import { serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

const podSpec = { containers: [{ name: "c", image: "i" }] };
const template = { metadata: { labels: { app: "a" } }, spec: podSpec };
const jobSpec = { template: { spec: { ...podSpec, restartPolicy: "Never" } } };
const workload = { spec: { selector: { matchLabels: { app: "a" } }, template } };
const rbac = "rbac.authorization.k8s.io";
const crd = {
  group: "e2e.example.com",
  scope: "Namespaced",
  names: { plural: "foos", kind: "Foo", singular: "foo", listKind: "FooList" },
  versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
};
const claimSpec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
const volumeSpec = {
  accessModes: ["ReadWriteOnce"],
  capacity: { storage: "1Gi" },
  hostPath: { path: "/data" },
};

/** The least that each kind has to say, where it is anything. */
const samples: Record<string, object> = {
  PersistentVolumeClaim: { spec: claimSpec },
  PersistentVolume: { spec: volumeSpec },
  Pod: { spec: podSpec },
  PodTemplate: { template },
  ReplicationController: { spec: { selector: { app: "a" }, template } },
  Service: { spec: { ports: [{ port: 80 }] } },
  ControllerRevision: { revision: 1, data: { a: 1 } },
  DaemonSet: workload,
  Deployment: workload,
  ReplicaSet: workload,
  StatefulSet: workload,
  HorizontalPodAutoscaler: {
    spec: { maxReplicas: 2, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "a" } },
  },
  Job: { spec: jobSpec },
  CronJob: { spec: { schedule: "* * * * *", jobTemplate: { spec: jobSpec } } },
  CertificateSigningRequest: { spec: { request: "Y3Ny", signerName: "example.com/signer", usages: ["any"] } },
  IngressClass: { spec: { controller: "example.com/controller" } },
  Ingress: { spec: { defaultBackend: { service: { name: "a", port: { number: 80 } } } } },
  NetworkPolicy: { spec: { podSelector: {} } },
  ServiceCIDR: { spec: { cidrs: ["10.88.0.0/24"] } },
  PodDisruptionBudget: { spec: { minAvailable: 1 } },
  ClusterRoleBinding: { roleRef: { apiGroup: rbac, kind: "ClusterRole", name: "a" } },
  RoleBinding: { roleRef: { apiGroup: rbac, kind: "Role", name: "a" } },
  CSIStorageCapacity: { storageClassName: "a" },
  StorageClass: { provisioner: "example.com/provisioner" },
  VolumeAttachment: { spec: { attacher: "a", nodeName: "n", source: { persistentVolumeName: "p" } } },
  ValidatingAdmissionPolicyBinding: { spec: { policyName: "a", validationActions: ["Deny"] } },
  PriorityClass: { value: 5 },
  RuntimeClass: { handler: "a" },
  EndpointSlice: { addressType: "IPv4", endpoints: [] },
  FlowSchema: { spec: { priorityLevelConfiguration: { name: "a" } } },
  PriorityLevelConfiguration: { spec: { type: "Limited", limited: { limitResponse: { type: "Reject" } } } },
  APIService: { metadata: { name: "v1.e2e.example.com" }, spec: { group: "e2e.example.com", version: "v1" } },
  CustomResourceDefinition: { metadata: { name: "foos.e2e.example.com" }, spec: crd },
  IPAddress: { metadata: { name: "10.96.0.77" }, spec: { parentRef: { resource: "services", name: "a" } } },
};

/** Kinds whose name alone does not tell which they are, or whose object names its namespace. */
function sampleOf({ group, kind }: ResourceDefinition): object {
  if (kind !== "Event") return samples[kind] ?? {};
  const about = { kind: "Pod", name: "a", namespace: api.namespace };
  const told = { reason: "Tested", type: "Normal", action: "test", eventTime: "2024-01-01T00:00:00.000000Z" };
  const newer = { regarding: about, reportingController: "example.com/test", reportingInstance: "test" };
  return { ...told, ...(group === "" ? { involvedObject: about } : newer) };
}

async function ask(
  method: string,
  path: string,
  type?: string,
  body?: object,
  accept?: string,
): Promise<KubeObject> {
  const answer = await api.server.transport().request({
    method: method as "GET",
    path,
    headers: { "content-type": type ?? "application/json", ...(accept === undefined ? {} : { accept }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const value = (await json(answer.body)) as KubeObject;
  expect(answer.status, `${method} ${path}: ${JSON.stringify(value)}`).toBeLessThan(300);
  return value;
}

async function statusOf(path: string): Promise<number> {
  return (await api.server.transport().request({ method: "GET", path })).status;
}

let count = 0;

interface Written {
  /** The paths of the collection, of the collection in all namespaces, and of the object. */
  all: string;
  everywhere: string;
  one: string;
  object: KubeObject;
}

const selector = "labelSelector=operations%3Dtest";
const annotate = (key: string) => ({ metadata: { annotations: { [key]: "true" } } });

async function create(definition: ResourceDefinition): Promise<Written> {
  const { group, version, kind, resource, namespaced } = definition;
  if (kind === "Pod") await createServiceAccount(api.client, api.namespace);
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const everywhere = `${root}/${resource}`;
  const all = namespaced ? `${root}/namespaces/${api.namespace}/${resource}` : everywhere;
  const { metadata: own, ...rest } = sampleOf(definition) as Partial<KubeObject>;
  const metadata = { name: `a-${count++}`, ...own, labels: { operations: "test" } };
  const one = `${all}/${metadata.name}`;
  // Of kinds with names of a form of their own, the test before may still be going.
  await expect.poll(() => statusOf(one)).toBe(404);
  const apiVersion = group === "" ? version : `${group}/${version}`;
  const object = await ask("POST", all, undefined, { apiVersion, kind, metadata, ...rest });
  expect(object).toMatchObject({ apiVersion, kind, metadata });
  return { all, everywhere, one, object };
}

const stored = builtinResources.filter(
  ({ verbs }) => verbs === undefined || (verbs.includes("create") && verbs.includes("list")),
);

test.each(stored)(
  "$kind of group '$group' in $version is read, listed, shown, patched, updated and applied",
  async (definition) => {
    const { all, everywhere, one, object } = await create(definition);
    expect((await ask("GET", one)).metadata.uid).toBe(object.metadata.uid);
    expect((await ask("GET", `${everywhere}?${selector}`)).items).toHaveLength(1);
    const table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    expect((await ask("GET", `${all}?${selector}`, undefined, undefined, table)).rows).toHaveLength(1);

    await ask("PATCH", one, "application/merge-patch+json", annotate("merged"));
    await ask("PATCH", one, "application/strategic-merge-patch+json", annotate("strategic"));
    const { apiVersion, kind, metadata } = object;
    const applied = { apiVersion, kind, metadata: { name: metadata.name, ...annotate("applied").metadata } };
    await ask("PATCH", `${one}?fieldManager=test`, "application/apply-patch+yaml", applied);
    const live = await ask("GET", one);
    Object.assign(live.metadata.annotations ?? {}, { updated: "true" });
    const { annotations } = (await ask("PUT", one, undefined, live)).metadata;
    expect(annotations).toMatchObject({
      merged: "true",
      strategic: "true",
      applied: "true",
      updated: "true",
    });
    await ask("DELETE", one);
  },
);

test.each(stored.filter(({ hasStatus }) => hasStatus))(
  "the status of $kind of group '$group' in $version is read, patched and updated",
  async (definition) => {
    const { one } = await create(definition);
    const patched = await ask("PATCH", `${one}/status`, "application/merge-patch+json", annotate("patched"));
    expect(patched.metadata.annotations).toMatchObject({ patched: "true" });
    const live = await ask("GET", `${one}/status`);
    Object.assign(live.metadata.annotations ?? {}, { updated: "true" });
    // Some statuses are written by the server itself meanwhile.
    delete live.metadata.resourceVersion;
    const updated = await ask("PUT", `${one}/status`, undefined, live);
    expect(updated.metadata.annotations).toMatchObject({ updated: "true" });
    await ask("DELETE", one);
  },
);

const collections = stored.filter(({ verbs }) => verbs === undefined || verbs.includes("deletecollection"));

test.each(collections)(
  "$kind of group '$group' in $version is deleted with all that a selector selects",
  async (definition) => {
    const { all } = await create(definition);
    await ask("DELETE", `${all}?${selector}`, undefined, { apiVersion: "v1", kind: "DeleteOptions" });
    await expect.poll(async () => (await ask("GET", `${all}?${selector}`)).items).toEqual([]);
  },
);
