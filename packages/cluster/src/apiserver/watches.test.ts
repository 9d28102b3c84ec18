import { silent } from "@kws/base/logger";
import { KubeClient, type WatchEvent } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, nodes } from "@kws/kube/resources";
import { startApiServer } from "./server.ts";
import { expect, test } from "vitest";
import { configMap, refusal, serverFixture } from "./testing/fixture.ts";
import { startTestServer } from "./testing/server.ts";

const api = serverFixture();

/** Events until `count` have come. */
async function take(events: AsyncGenerator<WatchEvent>, wanted: number): Promise<WatchEvent[]> {
  const taken: WatchEvent[] = [];
  for await (const event of events) {
    taken.push(event);
    if (taken.length === wanted) break;
  }
  return taken;
}

test("a watch with a selector shows objects coming into and leaving the selection", async () => {
  const { metadata } = await api.client.list(configMaps, api.namespace);
  await api.client.create(configMaps, configMap(api.namespace, "a"));
  const label = (value: string | null) =>
    api.client.patch(configMaps, "a", api.namespace, "merge", { metadata: { labels: { tier: value } } });
  await label("web");
  await api.client.patch(configMaps, "a", api.namespace, "merge", { data: { a: "c" } });
  const left = await label("db");
  const { resourceVersion } = metadata;
  const events = await take(
    api.client.watch(configMaps, api.namespace, { resourceVersion, labelSelector: "tier=web" }),
    3,
  );
  expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
  expect(events[2]?.object.metadata.labels).toEqual({ tier: "web" });
  expect(events[2]?.object.metadata.resourceVersion).toBe(left.metadata.resourceVersion);
});

test("a streamed list ends with the bookmark that says so", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "a"));
  const options = { sendInitialEvents: true, allowWatchBookmarks: true };
  const [added, bookmark] = await take(api.client.watch(configMaps, api.namespace, options), 2);
  expect(added).toMatchObject({ type: "ADDED", object: { metadata: { name: "a" } } });
  expect(bookmark).toMatchObject({
    type: "BOOKMARK",
    object: { kind: "ConfigMap", metadata: { annotations: { "k8s.io/initial-events-end": "true" } } },
  });
});

test("a watch ends after its timeout", async () => {
  const events = await Array.fromAsync(api.client.watch(nodes, undefined, { timeoutSeconds: 1 }));
  expect(events).toEqual([]);
});

test("a watch from a version that was before a restart has expired", async () => {
  const first = await startTestServer();
  const { metadata } = await first.client.create<KubeObject>(configMaps, {
    ...configMap(api.namespace, "a"),
    metadata: { name: "a", namespace: "default" },
  });
  await first.client.create(configMaps, {
    ...configMap(api.namespace, "b"),
    metadata: { name: "b", namespace: "default" },
  });
  await first.server.close();
  const second = await startApiServer({
    dataDir: first.dataDir,
    logger: silent,
    now: Date.now,
    streams: () => undefined,
  });
  const again = new KubeClient(second.transport());
  expect((await again.get(configMaps, "a", "default")).metadata.uid).toBe(metadata.uid);
  expect(second.caCertificate).toBe(first.server.caCertificate);
  const { resourceVersion } = metadata;
  const error = await refusal(take(again.watch(configMaps, "default", { resourceVersion }), 1));
  expect([error.code, error.reason]).toEqual([410, "Expired"]);
  await second.close();
  await first.close();
});
