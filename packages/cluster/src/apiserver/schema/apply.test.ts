import type { KubeObject } from "@kws/kube/object";
import { describe, expect, test } from "vitest";
import { builtinTypes, conflictMessage, serverSideApply, trackUpdate } from "./index.ts";
import type { ObjectSchema } from "./types.ts";

const types = builtinTypes();
const shape = (group: string, version: string, kind: string) =>
  types.get({ group, version, kind }) as ObjectSchema;
const deployments = shape("apps", "v1", "Deployment");
const services = shape("", "v1", "Service");
const configMaps = shape("", "v1", "ConfigMap");

interface Container {
  name: string;
  [field: string]: unknown;
}
const deployment = (spec: object, metadata: object = {}): KubeObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "default", ...metadata },
  spec,
});
const withContainers = (...containers: Container[]) => deployment({ template: { spec: { containers } } });

function apply(
  schema: ObjectSchema,
  live: KubeObject | undefined,
  applied: KubeObject,
  manager: string,
  { force = false, now = "2030-01-01T00:00:00Z" } = {},
) {
  return serverSideApply({ schema, live, applied, manager, force, apiVersion: applied.apiVersion, now });
}
const fieldsOf = (object: KubeObject, manager: string) =>
  object.metadata.managedFields?.find((entry) => entry.manager === manager)?.fieldsV1;

describe("apply", () => {
  test("a created object belongs to its applier, without what identifies it", () => {
    const applied = deployment(
      {
        replicas: 2,
        selector: { matchLabels: { app: "web" } },
        template: { spec: { containers: [{ name: "web", image: "a" }] } },
      },
      { labels: { app: "web" } },
    );
    const { object, conflicts } = apply(deployments, undefined, applied, "helm");
    expect(conflicts).toEqual([]);
    expect(object.metadata.managedFields).toEqual([
      {
        manager: "helm",
        operation: "Apply",
        apiVersion: "apps/v1",
        time: "2030-01-01T00:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:metadata": { "f:labels": { "f:app": {} } },
          "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
              "f:spec": { "f:containers": { 'k:{"name":"web"}': { ".": {}, "f:name": {}, "f:image": {} } } },
            },
          },
        },
      },
    ]);
  });

  test("another manager's field with another value is a conflict, in upstream's words", () => {
    const live = apply(deployments, undefined, withContainers({ name: "web", image: "a" }), "helm").object;
    const result = apply(deployments, live, withContainers({ name: "web", image: "b" }), "ann");
    expect(result.conflicts).toEqual([
      {
        manager: "helm",
        field: '.spec.template.spec.containers[name="web"].image',
        message: 'conflict with "helm"',
      },
    ]);
    expect(conflictMessage(result.conflicts)).toBe(
      'Apply failed with 1 conflict: conflict with "helm": .spec.template.spec.containers[name="web"].image',
    );
    expect(result.object).toBe(live);
  });

  test("an updater's conflict names its version and time", () => {
    const created = deployment({ replicas: 1 });
    created.metadata.managedFields = trackUpdate({
      schema: deployments,
      after: created,
      manager: "kubectl",
      apiVersion: "apps/v1",
      now: "2029-01-01T00:00:00Z",
    });
    const { conflicts } = apply(deployments, created, deployment({ replicas: 2 }), "helm");
    expect(conflictMessage(conflicts)).toBe(
      'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1 at 2029-01-01T00:00:00Z: .spec.replicas',
    );
  });

  test("force takes the field over, and only it", () => {
    const live = apply(deployments, undefined, deployment({ replicas: 1, paused: true }), "helm").object;
    const { object } = apply(deployments, live, deployment({ replicas: 3 }), "ann", { force: true });
    expect(object.spec).toEqual({ replicas: 3, paused: true });
    expect(fieldsOf(object, "helm")).toEqual({ "f:spec": { "f:paused": {} } });
    expect(fieldsOf(object, "ann")).toEqual({ "f:spec": { "f:replicas": {} } });
  });

  test("the same value is owned by both, and stays when one lets go", () => {
    let live = apply(deployments, undefined, deployment({ replicas: 2 }), "helm").object;
    live = apply(deployments, live, deployment({ replicas: 2 }), "ann").object;
    live = apply(deployments, live, deployment({ paused: true }), "helm").object;
    expect(live.spec).toEqual({ replicas: 2, paused: true });
    expect(fieldsOf(live, "ann")).toEqual({ "f:spec": { "f:replicas": {} } });
    live = apply(deployments, live, deployment({ paused: true }), "ann").object;
    expect(live.spec).toEqual({ paused: true });
  });

  test("what is no longer applied goes, with the item or object that it leaves empty", () => {
    const one = withContainers(
      { name: "a", image: "x", env: [{ name: "K", value: "1" }] },
      { name: "b", image: "y" },
    );
    const live = apply(deployments, undefined, one, "helm").object;
    const { object } = apply(deployments, live, withContainers({ name: "a", image: "x" }), "helm");
    expect(object.spec.template.spec.containers).toEqual([{ name: "a", image: "x" }]);
  });

  test("fields that nobody applied survive, such as defaults", () => {
    let live = apply(deployments, undefined, withContainers({ name: "a", image: "x" }), "helm").object;
    live = structuredClone(live);
    live.spec.replicas = 1;
    live.spec.template.spec.containers[0].imagePullPolicy = "Always";
    const { object } = apply(deployments, live, withContainers({ name: "a", image: "z" }), "helm");
    expect(object.spec).toMatchObject({
      replicas: 1,
      template: { spec: { containers: [{ name: "a", image: "z", imagePullPolicy: "Always" }] } },
    });
  });

  test("an item that another manager added to stays with that manager's fields", () => {
    let live = apply(deployments, undefined, withContainers({ name: "a", image: "x" }), "helm").object;
    live = apply(deployments, live, withContainers({ name: "a", workingDir: "/w" }), "ann").object;
    live = apply(deployments, live, deployment({ replicas: 1 }), "helm").object;
    expect(live.spec.template.spec.containers).toEqual([{ name: "a", workingDir: "/w" }]);
  });

  test("ports go by port and protocol, TCP where none is given", () => {
    const service = (ports: object[]): KubeObject => ({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "dns" },
      spec: { ports },
    });
    const live = apply(
      services,
      undefined,
      service([
        { port: 53, name: "tcp" },
        { port: 53, protocol: "UDP", name: "udp" },
      ]),
      "helm",
    ).object;
    expect(fieldsOf(live, "helm")).toMatchObject({
      "f:spec": {
        "f:ports": {
          'k:{"port":53,"protocol":"TCP"}': {},
          'k:{"port":53,"protocol":"UDP"}': {},
        },
      },
    });
    const { object } = apply(
      services,
      live,
      service([{ port: 53, protocol: "TCP", name: "renamed" }]),
      "helm",
    );
    expect(object.spec.ports).toEqual([{ port: 53, name: "renamed", protocol: "TCP" }]);
  });

  test("applied items take the applied order, and those of others keep their place", () => {
    let live = apply(deployments, undefined, withContainers({ name: "a" }, { name: "b" }), "helm").object;
    live = apply(deployments, live, withContainers({ name: "side" }), "mesh").object;
    const { object } = apply(deployments, live, withContainers({ name: "b" }, { name: "a" }), "helm");
    const names = object.spec.template.spec.containers.map((container: Container) => container.name);
    expect(names.filter((name: string) => name !== "side")).toEqual(["b", "a"]);
    expect(names).toContain("side");
  });

  test("finalizers are a set: each manager owns its own", () => {
    let live = apply(configMaps, undefined, map({ finalizers: ["x/a"] }), "one").object;
    live = apply(configMaps, live, map({ finalizers: ["x/b"] }), "two").object;
    expect(live.metadata.finalizers).toEqual(["x/b", "x/a"].toSorted());
    live = apply(configMaps, live, map({}), "one").object;
    expect(live.metadata.finalizers).toEqual(["x/b"]);
  });

  test("an atomic list is replaced as a whole", () => {
    const command = (...words: string[]) => withContainers({ name: "a", command: words });
    const live = apply(deployments, undefined, command("a", "b"), "helm").object;
    const { object } = apply(deployments, live, command("c"), "helm");
    expect(object.spec.template.spec.containers[0].command).toEqual(["c"]);
  });

  test("applying the same again changes nothing, not even the time", () => {
    const live = apply(deployments, undefined, deployment({ replicas: 1 }), "helm").object;
    const again = apply(deployments, live, deployment({ replicas: 1 }), "helm", {
      now: "2031-01-01T00:00:00Z",
    });
    expect(again.object).toEqual(live);
  });

  test("what stood there before the first apply can be conflicted with", () => {
    const { conflicts } = apply(
      deployments,
      deployment({ replicas: 1 }),
      deployment({ replicas: 2 }),
      "helm",
    );
    expect(conflicts).toMatchObject([{ manager: "before-first-apply", field: ".spec.replicas" }]);
  });

  test("kubectl takes over what its client-side apply annotation lists", () => {
    const annotation = JSON.stringify(deployment({ replicas: 1 }));
    const created = deployment(
      { replicas: 1 },
      { annotations: { "kubectl.kubernetes.io/last-applied-configuration": annotation } },
    );
    created.metadata.managedFields = trackUpdate({
      schema: deployments,
      after: created,
      manager: "kubectl-client-side-apply",
      apiVersion: "apps/v1",
      now: "2029-01-01T00:00:00Z",
    });
    expect(apply(deployments, created, deployment({ replicas: 2 }), "helm").conflicts).toHaveLength(1);
    const result = apply(deployments, created, deployment({ replicas: 2 }), "kubectl");
    expect(result.conflicts).toEqual([]);
    expect(result.object.spec.replicas).toBe(2);
  });

  test("unknown fields, duplicate items and managedFields are refused", () => {
    expect(() => apply(deployments, undefined, deployment({ replica: 1 }), "helm")).toThrow(
      "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema",
    );
    expect(() => apply(deployments, undefined, withContainers({ name: "a" }, { name: "a" }), "helm")).toThrow(
      '.spec.template.spec.containers: duplicate entries for key [name="a"]',
    );
    expect(() => apply(configMaps, undefined, map({ managedFields: [] }), "helm")).toThrow(
      "metadata.managedFields must be nil",
    );
  });

  test("a helm rollback takes back what a later revision changed", () => {
    const revision = (image: string, replicas: number) =>
      deployment({ replicas, template: { spec: { containers: [{ name: "web", image }] } } });
    let live = apply(deployments, undefined, revision("v1", 1), "helm").object;
    live = apply(deployments, live, revision("v2", 2), "helm").object;
    live = apply(deployments, live, revision("v1", 1), "helm", { force: true }).object;
    expect(live.spec).toEqual({
      replicas: 1,
      template: { spec: { containers: [{ name: "web", image: "v1" }] } },
    });
    expect(live.metadata.managedFields).toHaveLength(1);
  });
});

function map(metadata: object, data?: object): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m", ...metadata }, ...(data && { data }) };
}

describe("updates", () => {
  const track = (
    before: KubeObject | undefined,
    after: KubeObject,
    manager: string,
    now = "2030-01-01T00:00:00Z",
    schema = configMaps,
  ) => trackUpdate({ schema, before, after, manager, apiVersion: after.apiVersion, now });

  test("a create owns all fields, with the maps that it made", () => {
    expect(
      track(undefined, map({ labels: { a: "b" }, uid: "u", resourceVersion: "1" }, { k: "v" }), "kubectl"),
    ).toEqual([
      {
        manager: "kubectl",
        operation: "Update",
        apiVersion: "v1",
        time: "2030-01-01T00:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: { "f:data": { ".": {}, "f:k": {} }, "f:metadata": { "f:labels": { ".": {}, "f:a": {} } } },
      },
    ]);
  });

  test("a created Deployment is owned as on a real cluster", () => {
    const after = deployment(
      {
        replicas: 1,
        selector: { matchLabels: { app: "web" } },
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%" } },
        template: {
          metadata: { labels: { app: "web" } },
          spec: { containers: [{ name: "nginx", image: "nginx", resources: {} }], securityContext: {} },
        },
      },
      { labels: { app: "web" } },
    );
    expect(track(undefined, after, "kubectl-create", undefined, deployments)[0]?.fieldsV1).toEqual({
      "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
      "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:strategy": { "f:rollingUpdate": { ".": {}, "f:maxSurge": {} }, "f:type": {} },
        "f:template": {
          "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
          "f:spec": {
            "f:containers": {
              'k:{"name":"nginx"}': { ".": {}, "f:image": {}, "f:name": {}, "f:resources": {} },
            },
            "f:securityContext": {},
          },
        },
      },
    });
  });

  test("a change moves the field to who made it, and drops managers without fields", () => {
    const before = map({}, { a: "1", b: "1" });
    before.metadata.managedFields = track(undefined, before, "one");
    const after = { ...before, data: { a: "2", c: "1" } };
    const entries = track(before, after, "two", "2031-01-01T00:00:00Z");
    expect(entries.map(({ manager, time, fieldsV1 }) => ({ manager, time, fieldsV1 }))).toEqual([
      { manager: "one", time: "2030-01-01T00:00:00Z", fieldsV1: { "f:data": {} } },
      { manager: "two", time: "2031-01-01T00:00:00Z", fieldsV1: { "f:data": { "f:a": {}, "f:c": {} } } },
    ]);
  });

  test("nothing changed, nothing moves", () => {
    const before = map({}, { a: "1" });
    before.metadata.managedFields = track(undefined, before, "one");
    expect(track(before, structuredClone(before), "two", "2031-01-01T00:00:00Z")).toEqual(
      before.metadata.managedFields,
    );
  });

  test("a client may rewrite managedFields, and one empty entry resets them", () => {
    const before = map({}, { a: "1" });
    before.metadata.managedFields = track(undefined, before, "one");
    const renamed = structuredClone(before);
    for (const entry of renamed.metadata.managedFields ?? []) entry.manager = "other";
    expect(track(before, renamed, "two")[0]?.manager).toBe("other");
    const reset = { ...before, metadata: { ...before.metadata, managedFields: [{}] } } as KubeObject;
    expect(track(before, reset, "two")).toEqual([]);
  });

  test("the eleventh updater shares an entry with the oldest", () => {
    let object = map({}, {});
    for (let index = 0; index < 12; index += 1) {
      const after = { ...object, data: { ...object.data, [`k${index}`]: "v" } };
      const entries = track(object, after, `m${index}`, `20${30 + index}-01-01T00:00:00Z`);
      object = { ...after, metadata: { ...after.metadata, managedFields: entries } };
    }
    expect(object.metadata.managedFields).toHaveLength(10);
    expect(fieldsOf(object, "ancient-changes")).toMatchObject({
      "f:data": { "f:k0": {}, "f:k1": {}, "f:k2": {} },
    });
  });
});
