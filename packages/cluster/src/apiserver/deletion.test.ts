import { configMaps, namespaces, pods } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { configMap, createPod, refusal, serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

test("a running pod is given its grace period, and is gone when deleted without", async () => {
  await createPod(api, "running", { nodeName: "n", terminationGracePeriodSeconds: 20 });
  await api.client.delete(pods, "running", api.namespace);
  const { metadata } = await api.client.get(pods, "running", api.namespace);
  expect(metadata.deletionGracePeriodSeconds).toBe(20);
  expect(metadata.deletionTimestamp).toBeDefined();
  await api.client.delete(pods, "running", api.namespace, { gracePeriodSeconds: 0 });
  expect(await api.client.find(pods, "running", api.namespace)).toBeUndefined();
});

test("a pod that no node runs is gone at once", async () => {
  await createPod(api, "waiting");
  await api.client.delete(pods, "waiting", api.namespace);
  expect(await api.client.find(pods, "waiting", api.namespace)).toBeUndefined();
});

test("finalizers hold an object until the last one is taken away", async () => {
  const object = configMap(api.namespace, "held");
  object.metadata.finalizers = ["example.com/hold"];
  await api.client.create(configMaps, object);
  await api.client.delete(configMaps, "held", api.namespace);
  expect((await api.client.get(configMaps, "held", api.namespace)).metadata.deletionTimestamp).toBeDefined();
  await api.client.patch(configMaps, "held", api.namespace, "merge", { metadata: { finalizers: null } });
  expect(await api.client.find(configMaps, "held", api.namespace)).toBeUndefined();
});

test("a deletion with another uid is refused", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "a"));
  const error = await refusal(
    api.client.delete(configMaps, "a", api.namespace, { preconditions: { uid: "other" } }),
  );
  expect(error.message).toContain("Precondition failed: UID in precondition: other");
});

test("a namespace that is being deleted takes nothing new and goes when it is finalized", async () => {
  await api.client.delete(namespaces, api.namespace);
  const terminating = await api.client.get(namespaces, api.namespace);
  expect(terminating.status.phase).toBe("Terminating");
  const error = await refusal(api.client.create(configMaps, configMap(api.namespace, "a")));
  expect([error.code, error.status.details?.causes?.[0]?.reason]).toEqual([403, "NamespaceTerminating"]);
  await api.client.update(
    namespaces,
    { ...terminating, spec: { finalizers: [] } },
    { subresource: "finalize" },
  );
  expect(await api.client.find(namespaces, api.namespace)).toBeUndefined();
});
