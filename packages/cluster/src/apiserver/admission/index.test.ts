import { describe, expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { builtinResources } from "../resources/index.ts";
import { admit, claim, type AdmissionContext } from "./index.ts";

type World = Record<string, KubeObject[]>;

function objectOf(kind: string, name: string, fields: object = {}, namespace = "default"): KubeObject {
  return { apiVersion: "v1", kind, metadata: { name, namespace }, ...fields };
}

function contextOf(resource: string, world: World, rest: Partial<AdmissionContext>): AdmissionContext {
  const definition = builtinResources.find((one) => one.resource === resource);
  if (definition === undefined) throw new Error(`no ${resource}`);
  const inNamespace = (namespace?: string) => (object: KubeObject) =>
    namespace === undefined || object.metadata.namespace === namespace;
  return {
    operation: "CREATE",
    definition,
    user: { name: "admin", groups: [] },
    warn: () => undefined,
    get: ({ resource }, name, namespace) =>
      world[resource]?.filter(inNamespace(namespace)).find(({ metadata }) => metadata.name === name),
    list: ({ resource }, namespace) => (world[resource] ?? []).filter(inNamespace(namespace)),
    waitFor: () => Promise.resolve(undefined),
    ...rest,
  };
}

async function create(resource: string, object: KubeObject, world: World): Promise<KubeObject> {
  const context = contextOf(resource, world, { object });
  context.definition.setDefaults?.(object);
  await admit(context);
  claim(context);
  return object;
}

const account = objectOf("ServiceAccount", "default", { imagePullSecrets: [{ name: "pull" }] });
const world: World = { serviceaccounts: [account] };

function podOf(resources: object = {}, spec: object = {}): KubeObject {
  return objectOf("Pod", "p", { spec: { containers: [{ name: "c", image: "i:1", resources }], ...spec } });
}

describe("pods", () => {
  test("run as the default account with its token mounted", async () => {
    const { spec } = await create("pods", podOf(), world);
    expect(spec).toMatchObject({
      serviceAccountName: "default",
      imagePullSecrets: [{ name: "pull" }],
      priority: 0,
    });
    const [volume] = spec.volumes;
    expect(volume.name).toMatch(/^kube-api-access-[a-z0-9]{5}$/);
    expect(spec.containers[0].volumeMounts).toEqual([
      { name: volume.name, readOnly: true, mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" },
    ]);
    expect(spec.tolerations).toHaveLength(2);
  });

  test("need no token when they say so", async () => {
    const { spec } = await create("pods", podOf({}, { automountServiceAccountToken: false }), world);
    expect(spec.volumes).toBeUndefined();
  });

  test("are refused when their account is missing", async () => {
    await expect(create("pods", podOf({}, { serviceAccountName: "other" }), world)).rejects.toThrow(
      'pods "p" is forbidden: error looking up service account default/other: serviceaccount "other" not found',
    );
  });

  test("get the number of their priority class", async () => {
    const classes = [objectOf("PriorityClass", "high", { value: 7 })];
    const { spec } = await create("pods", podOf({}, { priorityClassName: "high" }), {
      ...world,
      priorityclasses: classes,
    });
    expect(spec).toMatchObject({ priority: 7, preemptionPolicy: "PreemptLowerPriority" });
    await expect(create("pods", podOf({}, { priorityClassName: "none" }), world)).rejects.toThrow(
      "no PriorityClass with name none was found",
    );
  });

  test("are filled in and bounded by a LimitRange", async () => {
    const limits = [
      { type: "Container", max: { cpu: "1" }, default: { cpu: "500m" }, defaultRequest: { cpu: "100m" } },
    ];
    const bounded = { ...world, limitranges: [objectOf("LimitRange", "l", { spec: { limits } })] };
    const { spec } = await create("pods", podOf(), bounded);
    expect(spec.containers[0].resources).toEqual({ limits: { cpu: "500m" }, requests: { cpu: "100m" } });
    await expect(create("pods", podOf({ limits: { cpu: "2" } }), bounded)).rejects.toThrow(
      "maximum cpu usage per Container is 1, but limit is 2",
    );
  });

  test("do not exceed a ResourceQuota", async () => {
    const quota = objectOf("ResourceQuota", "q", { spec: { hard: { pods: "1", "requests.cpu": "1" } } });
    const other = objectOf("Pod", "other", podOf({ requests: { cpu: "600m" } }));
    other.metadata.name = "other";
    const full = { ...world, resourcequotas: [quota], pods: [other] };
    await expect(create("pods", podOf({ requests: { cpu: "500m" } }), full)).rejects.toThrow(
      'pods "p" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1',
    );
    await expect(create("pods", podOf(), { ...full, pods: [] })).rejects.toThrow(
      "failed quota: q: must specify requests.cpu for: c",
    );
    await expect(
      create("pods", podOf({ requests: { cpu: "1" } }), { ...full, pods: [] }),
    ).resolves.toBeDefined();
  });
});

describe("Services", () => {
  const serviceOf = (name: string, spec: object = {}, namespace = "default") =>
    objectOf("Service", name, { spec: { ports: [{ port: 80 }], ...spec } }, namespace);

  test("get an address of the range and the known ones theirs", async () => {
    const { spec } = await create("services", serviceOf("a"), {});
    expect(spec.clusterIP).toMatch(/^10\.96\./);
    expect(spec.clusterIPs).toEqual([spec.clusterIP]);
    expect((await create("services", serviceOf("kubernetes"), {}))["spec"].clusterIP).toBe("10.96.0.1");
    const dns = serviceOf("kube-dns", { clusterIP: "10.96.0.10" }, "kube-system");
    expect((await create("services", dns, {}))["spec"].clusterIP).toBe("10.96.0.10");
  });

  test("may stay headless or ask for an address that is free", async () => {
    expect((await create("services", serviceOf("a", { clusterIP: "None" }), {}))["spec"].clusterIP).toBe(
      "None",
    );
    const taken = { services: [serviceOf("b", { clusterIP: "10.96.5.5", clusterIPs: ["10.96.5.5"] })] };
    await expect(create("services", serviceOf("a", { clusterIP: "10.96.5.5" }), taken)).rejects.toThrow(
      'Service "a" is invalid: spec.clusterIPs: Invalid value: ["10.96.5.5"]: failed to allocate IP 10.96.5.5: provided IP is already allocated',
    );
  });

  test("get node ports, and the one they ask for only when it is free", async () => {
    const { spec } = await create("services", serviceOf("a", { type: "NodePort" }), {});
    expect(spec.ports[0].nodePort).toBeGreaterThanOrEqual(30_000);
    const wanted = { type: "NodePort", ports: [{ port: 80, nodePort: 30_001 }] };
    const taken = { services: [serviceOf("b", wanted)] };
    await expect(create("services", serviceOf("a", wanted), taken)).rejects.toThrow(
      "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
    );
  });

  test("keep what they were given when an update leaves it out", async () => {
    const old = await create("services", serviceOf("a", { type: "NodePort" }), {});
    const object = serviceOf("a", { type: "NodePort", ports: [{ port: 80, protocol: "TCP" }] });
    claim(contextOf("services", { services: [old] }, { operation: "UPDATE", object, old }));
    expect(object["spec"].clusterIP).toBe(old["spec"].clusterIP);
    expect(object["spec"].ports[0].nodePort).toBe(old["spec"].ports[0].nodePort);
  });
});

test("a claim without a class gets the default one", async () => {
  const annotations = { "storageclass.kubernetes.io/is-default-class": "true" };
  const local = objectOf("StorageClass", "local");
  local.metadata.annotations = annotations;
  const storageclasses = [local];
  const claim = objectOf("PersistentVolumeClaim", "c", { spec: {} });
  expect((await create("persistentvolumeclaims", claim, { storageclasses }))["spec"].storageClassName).toBe(
    "local",
  );
  const none = objectOf("PersistentVolumeClaim", "c", { spec: { storageClassName: "" } });
  expect((await create("persistentvolumeclaims", none, { storageclasses }))["spec"].storageClassName).toBe(
    "",
  );
});

test.each(["default", "kube-system", "kube-public"])("the namespace %s may not be deleted", async (name) => {
  const old = objectOf("Namespace", name);
  await expect(admit(contextOf("namespaces", {}, { operation: "DELETE", old }))).rejects.toThrow(
    `namespaces "${name}" is forbidden: this namespace may not be deleted`,
  );
});
