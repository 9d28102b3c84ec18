import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { KubeClient } from "./client.ts";
import { Informer } from "./informer.ts";
import { createMemoryApi, type MemoryApi } from "./testing/memory-api.ts";
import type { KubeObject } from "./object.ts";
import { configMaps } from "./resources.ts";

let stop: AbortController;
let api: MemoryApi;
let client: KubeClient;

beforeEach(() => {
  stop = new AbortController();
  api = createMemoryApi();
  client = new KubeClient(api);
});
afterEach(() => stop.abort());

function map(name: string, data: Record<string, string> = {}): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data };
}

async function start(): Promise<Informer> {
  const informer = new Informer(client, configMaps, { signal: stop.signal });
  await informer.synced();
  return informer;
}

describe("an informer", () => {
  test("holds what was there before and follows every change", async () => {
    await client.create(configMaps, map("a"));
    const informer = await start();
    expect(informer.list("default").map(({ metadata }) => metadata.name)).toEqual(["a"]);
    const heard: string[] = [];
    informer.subscribe({
      add: ({ metadata }) => heard.push(`add ${metadata.name}`),
      update: ({ metadata }) => heard.push(`update ${metadata.name}`),
      delete: ({ metadata }) => heard.push(`delete ${metadata.name}`),
    });
    await client.create(configMaps, map("b"));
    await client.patch(configMaps, "b", "default", "merge", { data: { x: "1" } });
    await client.delete(configMaps, "a", "default");
    await vi.waitFor(() => expect(heard).toEqual(["add a", "add b", "update b", "delete a"]));
  });

  test("lists again where the version it stopped at is no longer known", async () => {
    await client.create(configMaps, map("a"));
    const informer = await start();
    api.disconnect();
    await client.delete(configMaps, "a", "default");
    await client.create(configMaps, map("b"));
    await vi.waitFor(
      () => expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(["b"]),
      3_000,
    );
  });

  test("falls back to a plain list where the server refuses to stream one", async () => {
    const older = new KubeClient({
      request: async (request) => {
        if (!request.path.includes("sendInitialEvents")) return api.request(request);
        const body = async function* (): AsyncGenerator<Uint8Array> {
          yield Buffer.from(
            JSON.stringify({ kind: "Status", code: 422, reason: "Invalid", message: "forbidden" }),
          );
        };
        return { status: 422, headers: {}, body: body() };
      },
    });
    await client.create(configMaps, map("a"));
    const informer = new Informer(older, configMaps, { signal: stop.signal });
    await informer.synced();
    expect(informer.get("a", "default")).toBeDefined();
  });

  test("shows a write at once and is not confused when the watch tells of it later", async () => {
    const informer = await start();
    const heard: string[] = [];
    informer.subscribe({
      add: ({ metadata }) => heard.push(metadata.name),
      update: () => heard.push("update"),
    });
    informer.put(await client.create(configMaps, map("a")));
    expect(informer.get("a", "default")).toBeDefined();
    await client.create(configMaps, map("b"));
    await vi.waitFor(() => expect(heard).toEqual(["a", "b"]));
  });

  test("does not bring back what the watch already said is gone", async () => {
    const informer = await start();
    const created = await client.create(configMaps, map("a"));
    await client.delete(configMaps, "a", "default");
    await client.create(configMaps, map("b"));
    await vi.waitFor(() => expect(informer.get("b", "default")).toBeDefined());
    informer.put(created);
    expect(informer.get("a", "default")).toBeUndefined();
  });
});
