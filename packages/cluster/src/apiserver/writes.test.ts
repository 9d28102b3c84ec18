import { json } from "node:stream/consumers";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, deployments, pods } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { configMap, createPod, refusal, serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

function deployment(name: string): KubeObject {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: api.namespace },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  };
}

test("creating twice, reading what is not there and updating an old version fail in upstream's words", async () => {
  const created = await api.client.create(configMaps, configMap(api.namespace, "a"));
  expect((await refusal(api.client.create(configMaps, configMap(api.namespace, "a")))).message).toBe(
    'configmaps "a" already exists',
  );
  expect((await refusal(api.client.get(configMaps, "b", api.namespace))).message).toBe(
    'configmaps "b" not found',
  );
  await api.client.update(configMaps, { ...created, data: { a: "c" } });
  const stale = await refusal(api.client.update(configMaps, { ...created, data: { a: "d" } }));
  expect(stale.message).toBe(
    'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
  );
  expect(stale.code).toBe(409);
});

test("a write that changes nothing keeps the resourceVersion", async () => {
  const created = await api.client.create(configMaps, configMap(api.namespace, "a"));
  const again = await api.client.patch(configMaps, "a", api.namespace, "merge", { data: { a: "b" } });
  expect(again.metadata.resourceVersion).toBe(created.metadata.resourceVersion);
});

test("generateName makes distinct names, and a dry run stores nothing", async () => {
  const named = {
    ...configMap(api.namespace, ""),
    metadata: { name: "", namespace: api.namespace, generateName: "x-" },
  };
  const [one, two] = [await api.client.create(configMaps, named), await api.client.create(configMaps, named)];
  expect(one.metadata.name).toMatch(/^x-[a-z0-9]{5}$/);
  expect(two.metadata.name).not.toBe(one.metadata.name);
  await api.client.create(configMaps, configMap(api.namespace, "dry"), { dryRun: true });
  expect(await api.client.find(configMaps, "dry", api.namespace)).toBeUndefined();
});

test("the generation counts changes of the spec alone, and status is written only as status", async () => {
  const created = await api.client.create(deployments, deployment("d"));
  expect(created.metadata.generation).toBe(1);
  const changed = await api.client.patch(deployments, "d", api.namespace, "merge", {
    spec: { replicas: 2 },
    status: { replicas: 7 },
  });
  expect(changed.metadata.generation).toBe(2);
  expect(changed.status?.replicas).toBeUndefined();
  const status = await api.client.patch(
    deployments,
    "d",
    api.namespace,
    "merge",
    { spec: { replicas: 9 }, status: { replicas: 2 } },
    { subresource: "status" },
  );
  expect([status.metadata.generation, status.spec.replicas, status.status.replicas]).toEqual([2, 2, 2]);
});

test("a pod is bound to a node once", async () => {
  await createPod(api, "p");
  const binding = {
    apiVersion: "v1",
    kind: "Binding",
    metadata: { name: "p", namespace: api.namespace },
    target: { kind: "Node", name: "n" },
  };
  await api.client.create(pods, binding, { subresource: "binding" });
  const bound = await api.client.get(pods, "p", api.namespace);
  expect(bound.spec.nodeName).toBe("n");
  expect(bound.status.conditions).toContainEqual(
    expect.objectContaining({ type: "PodScheduled", status: "True" }),
  );
  expect((await refusal(api.client.create(pods, binding, { subresource: "binding" }))).code).toBe(409);
});

test("apply creates, co-owns, conflicts, and takes over when forced", async () => {
  const applied = (value: string) => ({ ...configMap(api.namespace, "a"), data: { value } });
  await api.client.apply(configMaps, applied("1"), { fieldManager: "one" });
  const error = await refusal(api.client.apply(configMaps, applied("2"), { fieldManager: "two" }));
  expect(error.message).toBe('Apply failed with 1 conflict: conflict with "one": .data.value');
  expect(error.status.details?.causes).toEqual([
    { reason: "FieldManagerConflict", message: 'conflict with "one"', field: ".data.value" },
  ]);
  const taken = await api.client.apply(configMaps, applied("2"), { fieldManager: "two", force: true });
  expect(taken.metadata.managedFields?.map(({ manager }) => manager)).toEqual(["two"]);
});

async function applyText(
  name: string,
  text: string,
  fieldValidation: string,
): Promise<[number, string, string]> {
  const { status, headers, body } = await api.server.transport().request({
    method: "PATCH",
    path: `/api/v1/namespaces/${api.namespace}/configmaps/${name}?fieldManager=me&fieldValidation=${fieldValidation}`,
    headers: { "content-type": "application/apply-patch+yaml" },
    body: text,
  });
  const { message = "" } = (await json(body)) as { message?: string };
  return [status, message, headers["warning"]?.toString() ?? ""];
}

test("apply refuses fields that the kind does not have, and values of another type, whatever is to be validated", async () => {
  const applied = (rest: string) => `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, ${rest}}`;
  for (const mode of ["Strict", "Warn", "Ignore"]) {
    const [status, message] = await applyText("a", applied("dada: {}"), mode);
    expect([status, message]).toEqual([422, expect.stringContaining(".dada: field not declared in schema")]);
  }
  const [status, message] = await applyText("a", applied("immutable: 5"), "Ignore");
  expect([status, message]).toEqual([422, expect.stringContaining(".immutable: ")]);
});

test("keys that an applied configuration gives twice are told with their lines", async () => {
  const text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n  \"x\": '2'\n";
  const told = 'line 7: key "x" already set in map';
  expect(await applyText("a", text, "Strict")).toEqual([
    400,
    `error strict decoding YAML: yaml: unmarshal errors:\n  ${told}`,
    "",
  ]);
  expect(await applyText("a", text, "Warn")).toEqual([201, "", `299 - "${told.replaceAll('"', '\\"')}"`]);
  expect(await applyText("a", text, "Ignore")).toEqual([200, "", ""]);
});

test("a patch that gives a field twice is refused where validation is strict", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "a"));
  const { status, body } = await api.server.transport().request({
    method: "PATCH",
    path: `/api/v1/namespaces/${api.namespace}/configmaps/a?fieldValidation=Strict`,
    headers: { "content-type": "application/merge-patch+json" },
    body: '{"data":{"x":"1","x":"2"}}',
  });
  expect(status).toBe(400);
  expect(await json(body)).toMatchObject({ message: 'strict decoding error: duplicate field "data.x"' });
});
