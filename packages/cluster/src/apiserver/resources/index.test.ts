import { describe, expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { apiVersions, builtinResources, fromCustomResourceDefinition, validateMetadata } from "./index.ts";
import { compileJsonPath } from "./jsonpath.ts";
import { humanDuration } from "./table.ts";

const now = Date.parse("2026-01-01T01:00:00Z");

function find(group: string, resource: string, version = "v1") {
  const found = builtinResources.find(
    (one) => one.group === group && one.resource === resource && one.version === version,
  );
  if (found === undefined) throw new Error(`no ${resource}`);
  return found;
}

function objectOf(spec: object, fields: object = {}): KubeObject {
  const metadata = { name: "a", namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z", uid: "u1" };
  return { apiVersion: "v1", kind: "X", metadata, spec, ...fields };
}

const template = (restartPolicy?: string) => ({
  metadata: { labels: { app: "a" } },
  spec: {
    containers: [{ name: "c", image: "i:1" }],
    ...(restartPolicy === undefined ? {} : { restartPolicy }),
  },
});

test("every definition can be told apart and prints a cell per column, even of an empty object", () => {
  const keys = builtinResources.map(({ group, version, resource }) => `${group}/${version}/${resource}`);
  expect(new Set(keys).size).toBe(keys.length);
  for (const definition of builtinResources) {
    const group = definition.group === "" ? "" : `${definition.group}/`;
    expect(apiVersions).toContain(`${group}${definition.version}`);
    const object: KubeObject = {
      apiVersion: "v1",
      kind: definition.kind,
      metadata: { name: "a", namespace: "b" },
    };
    expect(definition.row(object, now)).toHaveLength(definition.columns.length);
    definition.setDefaults?.(object);
    definition.prepareForCreate?.(object);
    expect(definition.row(object, now)).toHaveLength(definition.columns.length);
    definition.prepareForUpdate?.(object, structuredClone(object));
    expect(Array.isArray(definition.validate?.(object, structuredClone(object)) ?? [])).toBe(true);
  }
});

test("defaults are stable: applying them again changes nothing", () => {
  for (const definition of builtinResources) {
    const object: KubeObject = {
      apiVersion: "v1",
      kind: definition.kind,
      metadata: { name: "a" },
      spec: { template: template() },
    };
    definition.setDefaults?.(object);
    const once = structuredClone(object);
    definition.setDefaults?.(object);
    expect(object).toEqual(once);
  }
});

describe("workloads", () => {
  test("a Deployment gets its strategy and a row", () => {
    const definition = find("apps", "deployments");
    const object = objectOf({ selector: { matchLabels: { app: "a" } }, template: template() });
    definition.setDefaults?.(object);
    expect(object["spec"]).toMatchObject({
      replicas: 1,
      revisionHistoryLimit: 10,
      progressDeadlineSeconds: 600,
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } },
    });
    expect(definition.validate?.(object)).toEqual([]);
    expect(definition.row(object, now)).toEqual(["a", "0/1", "0", "0", "60m", "c", "i:1", "app=a"]);
  });

  test("a selector that does not match its template is refused", () => {
    const definition = find("apps", "deployments");
    const object = objectOf({ selector: { matchLabels: { app: "b" } }, template: template() });
    definition.setDefaults?.(object);
    expect(definition.validate?.(object)).toEqual([
      {
        reason: "FieldValueInvalid",
        field: "spec.template.metadata.labels",
        message: 'Invalid value: {"app":"a"}: `selector` does not match template `labels`',
      },
    ]);
  });

  test("a StatefulSet keeps its service name", () => {
    const definition = find("apps", "statefulsets");
    const old = objectOf({ serviceName: "x", selector: { matchLabels: { app: "a" } }, template: template() });
    definition.setDefaults?.(old);
    const object = structuredClone(old);
    object["spec"].replicas = 3;
    expect(definition.validate?.(object, old)).toEqual([]);
    object["spec"].serviceName = "y";
    expect(definition.validate?.(object, old)?.[0]?.message).toMatch(
      /^Forbidden: updates to statefulset spec/,
    );
  });

  test("a Job selects its pods by its own uid", () => {
    const definition = find("batch", "jobs");
    const object = objectOf({ template: template("Never") });
    definition.setDefaults?.(object);
    definition.prepareForCreate?.(object);
    expect(object["spec"].selector.matchLabels).toEqual({ "batch.kubernetes.io/controller-uid": "u1" });
    expect(object["spec"].template.metadata.labels).toMatchObject({
      "controller-uid": "u1",
      "job-name": "a",
    });
    expect(object["spec"]).toMatchObject({ backoffLimit: 6, completions: 1, parallelism: 1, suspend: false });
    expect(definition.validate?.(object)).toEqual([]);
    expect(definition.row(object, now).slice(0, 5)).toEqual(["a", "Running", "0/1", "", "60m"]);
  });

  test.each([
    ["* * * * *", 0],
    ["*/5 0-6 1,15 jan MON-FRI", 0],
    ["@hourly", 0],
    ["61 * * * *", 1],
    ["* * * *", 1],
    ["nonsense", 1],
  ])("a CronJob's schedule %s has %i problems", (schedule, count) => {
    const definition = find("batch", "cronjobs");
    const object = objectOf({ schedule, jobTemplate: { spec: { template: template("Never") } } });
    definition.setDefaults?.(object);
    expect(definition.validate?.(object)).toHaveLength(count);
  });
});

describe("configuration", () => {
  test("stringData becomes data", () => {
    const definition = find("", "secrets");
    const object = objectOf({}, { stringData: { a: "b" }, data: { c: "ZA==" } });
    definition.setDefaults?.(object);
    expect(object).toMatchObject({ type: "Opaque", data: { a: "Yg==", c: "ZA==" } });
    expect(object["stringData"]).toBeUndefined();
    expect(definition.row(object, now)).toEqual(["a", "Opaque", "2", "60m"]);
  });

  test("an immutable ConfigMap stays", () => {
    const definition = find("", "configmaps");
    const old = objectOf({}, { immutable: true, data: { a: "b" } });
    expect(definition.validate?.(objectOf({}, { immutable: true, data: { a: "c" } }), old)).toEqual([
      {
        reason: "FieldValueForbidden",
        field: "data",
        message: "Forbidden: field is immutable when `immutable` is set",
      },
    ]);
    expect(definition.validate?.(structuredClone(old), old)).toEqual([]);
  });

  test("more than a mebibyte is too much", () => {
    const causes = find("", "configmaps").validate?.(
      objectOf({}, { data: { a: "x".repeat(1024 * 1024 + 1) } }),
    );
    expect(causes?.map(({ reason }) => reason)).toEqual(["FieldValueTooLong"]);
  });
});

test("a Service prints its ports and its pending address", () => {
  const definition = find("", "services");
  const object = objectOf({
    type: "LoadBalancer",
    clusterIP: "10.96.1.1",
    ports: [{ port: 80, nodePort: 30080 }],
  });
  definition.setDefaults?.(object);
  expect(object["spec"]).toMatchObject({
    clusterIPs: ["10.96.1.1"],
    externalTrafficPolicy: "Cluster",
    internalTrafficPolicy: "Cluster",
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
    sessionAffinity: "None",
    ports: [{ protocol: "TCP", targetPort: 80 }],
  });
  expect(definition.validate?.(object)).toEqual([]);
  expect(definition.row(object, now)).toEqual([
    "a",
    "LoadBalancer",
    "10.96.1.1",
    "<pending>",
    "80:30080/TCP",
    "60m",
    "<none>",
  ]);
});

test("both forms of an event and of an autoscaler are one object", () => {
  const newer = find("events.k8s.io", "events").storedAs;
  const event = objectOf({}, { regarding: { kind: "Pod", name: "p" }, note: "hello" });
  const stored = newer?.toStored(event);
  expect(stored).toMatchObject({ apiVersion: "v1", involvedObject: { name: "p" }, message: "hello" });
  expect(newer?.fromStored(stored as KubeObject)).toMatchObject({ note: "hello", regarding: { name: "p" } });
  const v1 = find("autoscaling", "horizontalpodautoscalers", "v1").storedAs;
  const scaler = v1?.toStored(objectOf({ maxReplicas: 3, targetCPUUtilizationPercentage: 60 }));
  expect(scaler?.["spec"].metrics[0].resource.target.averageUtilization).toBe(60);
  expect(v1?.fromStored(scaler as KubeObject)["spec"]).toEqual({
    maxReplicas: 3,
    targetCPUUtilizationPercentage: 60,
  });
});

describe("metadata", () => {
  const causes = (metadata: object, definition = find("", "configmaps")) =>
    validateMetadata(
      { apiVersion: "v1", kind: "X", metadata: { name: "a", namespace: "b", ...metadata } },
      definition,
    );

  test("names are checked with upstream's words", () => {
    expect(causes({ name: "X" })).toEqual([
      {
        reason: "FieldValueInvalid",
        field: "metadata.name",
        message:
          "Invalid value: \"X\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      },
    ]);
    expect(causes({ name: "1a" }, find("", "services"))).toHaveLength(1);
    expect(causes({ name: "system:a/b" }, find("rbac.authorization.k8s.io", "roles"))).toHaveLength(1);
    expect(causes({ name: "system:a" }, find("rbac.authorization.k8s.io", "roles"))).toEqual([]);
  });

  test.each([
    [{ labels: { "a b": "c" } }, "metadata.labels"],
    [{ labels: { a: "c d" } }, "metadata.labels"],
    [{ annotations: { a: "x".repeat(256 * 1024) } }, "metadata.annotations"],
    [{ finalizers: ["nope"] }, "metadata.finalizers"],
    [{ ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: "p" }] }, "metadata.ownerReferences[0].uid"],
  ])("%j is refused", (metadata, field) => {
    expect(causes(metadata).map((cause) => cause.field)).toEqual([field]);
  });
});

describe("custom resources", () => {
  const crd = (columns?: object[]): KubeObject => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "things.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "things", kind: "Thing", shortNames: ["th"] },
      versions: [
        {
          name: "v2",
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
        },
        { name: "v1", served: false, storage: false },
      ],
    },
  });

  test("one definition per served version, with an Age by default", () => {
    const [definition, ...others] = fromCustomResourceDefinition(crd());
    expect(others).toEqual([]);
    expect(definition).toMatchObject({ kind: "Thing", singular: "thing", hasStatus: true, version: "v2" });
    expect(definition?.row(objectOf({}), now)).toEqual(["a", "60m"]);
  });

  test("printer columns read the object", () => {
    const [definition] = fromCustomResourceDefinition(
      crd([
        { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
        { name: "Replicas", type: "integer", jsonPath: ".spec.replicas" },
        { name: "Gone", type: "string", jsonPath: ".spec.gone" },
      ]),
    );
    const object = objectOf({ replicas: 2 }, { status: { conditions: [{ type: "Ready", status: "True" }] } });
    expect(definition?.row(object, now)).toEqual(["a", "True", 2, null]);
  });
});

test.each([
  [".a.b", { a: { b: 1 } }, [1]],
  ["{.a[0]}", { a: [1, 2] }, [1]],
  [".a[-1]", { a: [1, 2] }, [2]],
  [".a[*].b", { a: [{ b: 1 }, { b: 2 }] }, [1, 2]],
  [".a['b.c']", { a: { "b.c": 1 } }, [1]],
  [".a.b\\.c/d", { a: { "b.c/d": 1 } }, [1]],
  [".a[?(@.n>1)].n", { a: [{ n: 1 }, { n: 2 }] }, [2]],
  [".missing.b", {}, []],
])("JSONPath %s", (path, object, values) => {
  expect(compileJsonPath(path)(object)).toEqual(values);
});

test.each([
  [0, "0s"],
  [119_000, "119s"],
  [120_000, "2m"],
  [150_000, "2m30s"],
  [3_600_000, "60m"],
  [3 * 3_600_000, "3h"],
  [5.5 * 3_600_000, "5h30m"],
  [30 * 3_600_000, "30h"],
  [50 * 3_600_000, "2d2h"],
  [10 * 86_400_000, "10d"],
  [800 * 86_400_000, "2y70d"],
  [-5000, "<invalid>"],
])("%i ms print as %s", (milliseconds, text) => {
  expect(humanDuration(milliseconds)).toBe(text);
});

test("an autoscaler's targets and behavior are such that can be followed", () => {
  const definition = find("autoscaling", "horizontalpodautoscalers", "v2");
  const faults = (spec: object) => {
    const object = objectOf({ scaleTargetRef: { kind: "Deployment", name: "a" }, maxReplicas: 2, ...spec });
    definition.setDefaults?.(object);
    return (definition.validate?.(object) ?? []).map(({ field }) => field);
  };
  expect(faults({})).toEqual([]);
  const target = (resource: object) => faults({ metrics: [{ type: "Resource", resource }] });
  const at = "spec.metrics[0].resource";
  expect(target({ name: "cpu", target: { type: "AverageValue", averageValue: "100m" } })).toEqual([]);
  expect(target({ target: { averageUtilization: 0 } })).toEqual([
    `${at}.name`,
    `${at}.target.averageUtilization`,
  ]);
  expect(target({ name: "cpu", target: {} })).toEqual([`${at}.target.averageUtilization`]);
  expect(target({ name: "cpu", target: { averageValue: "0" } })).toEqual([`${at}.target.averageValue`]);
  expect(target({ name: "cpu", target: { averageValue: "1", averageUtilization: 1 } })).toEqual([
    `${at}.target.averageValue`,
  ]);
  expect(faults({ metrics: [{ type: "ContainerResource" }] })).toEqual(["spec.metrics[0].containerResource"]);
  expect(
    faults({ behavior: { scaleUp: {}, scaleDown: { selectPolicy: "Min", tolerance: "0.05" } } }),
  ).toEqual([]);
  const policies = [{ type: "Pod", value: 0, periodSeconds: 1801 }];
  const scaleUp = { stabilizationWindowSeconds: 3601, selectPolicy: "Most", tolerance: "-1", policies };
  expect(faults({ behavior: { scaleUp, scaleDown: { policies: [] } } })).toEqual([
    "spec.behavior.scaleUp.stabilizationWindowSeconds",
    "spec.behavior.scaleUp.selectPolicy",
    "spec.behavior.scaleUp.tolerance",
    "spec.behavior.scaleUp.policies[0].type",
    "spec.behavior.scaleUp.policies[0].value",
    "spec.behavior.scaleUp.policies[0].periodSeconds",
    "spec.behavior.scaleDown.policies",
  ]);
});

test("an autoscaler that is written by the older version keeps what that cannot say", () => {
  const metrics = [
    { type: "Resource", resource: { name: "memory", target: { type: "AverageValue", averageValue: "1Gi" } } },
    { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 60 } } },
  ];
  const behavior = { scaleUp: { selectPolicy: "Disabled" } };
  const stored = objectOf({ maxReplicas: 2, metrics, behavior });
  const conversion = find("autoscaling", "horizontalpodautoscalers", "v1").storedAs;
  const older = conversion?.fromStored(stored);
  expect(older?.["spec"]).toEqual({ maxReplicas: 2, targetCPUUtilizationPercentage: 60 });
  expect(older === undefined ? undefined : conversion?.toStored(older)["spec"]).toEqual(stored["spec"]);
});

test("a NetworkPolicy names blocks of addresses and ranges of ports that there are", () => {
  const definition = find("networking.k8s.io", "networkpolicies");
  const faults = (rule: object) =>
    (definition.validate?.(objectOf({ podSelector: {}, egress: [rule] })) ?? []).map(({ field }) => field);
  const block = (cidr: string, ...except: string[]) => faults({ to: [{ ipBlock: { cidr, except } }] });
  const [to, ports] = ["spec.egress[0].to[0].ipBlock", "spec.egress[0].ports[0]"];
  expect(block("10.0.0.0/8", "10.1.0.0/16", "10.2.3.4/32")).toEqual([]);
  expect(block("2001:db8::/32", "2001:db8:1::/48")).toEqual([]);
  expect(block("10.0.0.0")).toEqual([`${to}.cidr`]);
  expect(block("10.0.0.0/33")).toEqual([`${to}.cidr`]);
  expect(block("10.0.0.0/8; drop", "10.1.0.0/16")).toEqual([`${to}.cidr`]);
  expect(block("10.0.0.0/8", "11.0.0.0/16", "10.0.0.0/8", "x")).toEqual([
    `${to}.except[0]`,
    `${to}.except[1]`,
    `${to}.except[2]`,
  ]);
  const range = (port: unknown, endPort: number) => faults({ ports: [{ protocol: "TCP", port, endPort }] });
  expect(range(80, 90)).toEqual([]);
  for (const [port, end] of [
    ["web", 90],
    [undefined, 90],
    [80, 79],
    [80, 70_000],
  ] as const) {
    expect(range(port, end)).toEqual([`${ports}.endPort`]);
  }
});

describe("a Namespace", () => {
  const definition = find("", "namespaces");
  const live: KubeObject = { apiVersion: "v1", kind: "Namespace", metadata: { name: "a" }, spec: {} };
  definition.prepareForCreate?.(live);

  test("is born active, named by a label and held by a finalizer", () => {
    expect(live).toMatchObject({
      metadata: { labels: { "kubernetes.io/metadata.name": "a" } },
      spec: { finalizers: ["kubernetes"] },
      status: { phase: "Active" },
    });
  });

  test("loses its finalizer only by being finalized", () => {
    const update = { ...structuredClone(live), spec: {} };
    definition.prepareForUpdate?.(update, live);
    expect(update.spec).toEqual({ finalizers: ["kubernetes"] });
    const finalized = { ...structuredClone(live), spec: { finalizers: [] } };
    definition.prepareForUpdate?.(finalized, live, "finalize");
    expect(finalized.spec).toEqual({ finalizers: [] });
  });
});
