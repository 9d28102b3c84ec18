import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { Store } from "./store.ts";
import type { StoreEvent } from "./stored.ts";

let folder: string;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "store-"));
  store = new Store(join(folder, "storage.db"));
});

afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

function configMap(name: string, value = "x"): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data: { value } };
}

const put = (name: string, value?: string) =>
  store.create("configmaps", `default/${name}`, configMap(name, value));

test("a write is seen by other writes at once and by readers only after its commit", async () => {
  const created = put("a");
  expect(store.latest("configmaps", "default/a")).toBeDefined();
  expect(store.get("configmaps", "default/a")).toBeUndefined();
  const stored = await created;
  expect(store.get("configmaps", "default/a")).toBe(stored);
  expect(stored.object.metadata.resourceVersion).toBe(String(store.revision));
});

test("of two writes that start from the same version, the second is refused", async () => {
  const { revision } = await put("a");
  const first = store.update("configmaps", "default/a", configMap("a", "1"), revision);
  expect(() => store.update("configmaps", "default/a", configMap("a", "2"), revision)).toThrow(/has changed/);
  await first;
  expect(store.get("configmaps", "default/a")?.object.data.value).toBe("1");
});

test("creating what exists and changing what does not is refused", async () => {
  const { revision } = await put("a");
  expect(() => put("a")).toThrow(/exists/);
  await store.delete("configmaps", "default/a", revision);
  expect(() => store.update("configmaps", "default/a", configMap("a"), revision)).toThrow(/does not exist/);
});

test("objects and revisions are there again after a restart, and removed ones are not", async () => {
  await put("a");
  const { revision } = await put("b");
  const removed = await store.delete("configmaps", "default/b", revision);
  store.close();
  store = new Store(join(folder, "storage.db"));
  expect(store.list("configmaps").map(({ key }) => key)).toEqual(["default/a"]);
  expect(store.revision).toBe(removed.revision);
});

test("a list is ordered by key and limited to a namespace", async () => {
  await Promise.all([put("b"), put("a"), store.create("configmaps", "default-2/a", configMap("a"))]);
  expect(store.list("configmaps").map(({ key }) => key)).toEqual(["default-2/a", "default/a", "default/b"]);
  expect(store.list("configmaps", "default/").map(({ key }) => key)).toEqual(["default/a", "default/b"]);
});

test("a list at an older revision undoes what came after", async () => {
  const a = await put("a", "old");
  const b = await put("b");
  const then = store.revision;
  await store.update("configmaps", "default/a", configMap("a", "new"), a.revision);
  await store.delete("configmaps", "default/b", b.revision);
  await put("c");
  const list = store.listAt("configmaps", then, "default/");
  expect(list.map(({ object }) => [object.metadata.name, object.data.value])).toEqual([
    ["a", "old"],
    ["b", "x"],
  ]);
});

test("a list at a compacted revision has expired", async () => {
  const { revision } = await put("a");
  await put("b");
  store.compact();
  store.compact();
  expect(() => store.listAt("configmaps", revision)).toThrow(/compacted/);
});

test("a watch replays what happened after its revision and goes on, without gaps or repeats", async () => {
  const { revision } = await put("a");
  const b = await put("b");
  const events: StoreEvent[] = [];
  const stop = store.watch("configmaps", revision, (event) => events.push(event));
  await store.delete("configmaps", "default/b", b.revision);
  stop();
  await put("c");
  expect(events.map(({ type, current }) => `${type} ${current.key}`)).toEqual([
    "ADDED default/b",
    "DELETED default/b",
  ]);
  expect(events.map((event) => event.revision)).toEqual([revision + 1, revision + 2]);
});

test("a watch from before the remembered history has expired", async () => {
  const { revision } = await put("a");
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 1000 }, (_, index) => put(`${round}-${index}`)));
  }
  expect(() => store.watch("configmaps", revision, () => {})).toThrow(/too old/);
});

test("large objects that change often are forgotten sooner", async () => {
  const { revision } = await put("a");
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "large", namespace: "default" } };
  let { revision: at } = await put("large");
  for (let round = 0; round < 40; round++) {
    const data = { text: "x".repeat(1024 * 1024) + String(round) };
    ({ revision: at } = await store.update("configmaps", "default/large", { ...object, data }, at));
  }
  expect(() => store.watch("configmaps", revision, () => {})).toThrow(/too old/);
  const seen: number[] = [];
  store.watch("configmaps", at - 1, (event) => seen.push(event.revision))();
  expect(seen).toEqual([at]);
});

test("a second process cannot open the same storage", () => {
  expect(() => new Store(join(folder, "storage.db"))).toThrow(/cannot open the cluster's storage/);
});

test("killed in the middle of writes, it has lost nothing that it acknowledged", async () => {
  const path = join(folder, "killed.db");
  const script = fileURLToPath(new URL("testdata/writer.ts", import.meta.url));
  const writer = spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
  const acknowledged: string[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    acknowledged.push(line);
    if (acknowledged.length === 500) writer.kill("SIGKILL");
  }
  if (writer.exitCode === null && writer.signalCode === null) await once(writer, "exit");
  expect(writer.signalCode).toBe("SIGKILL");
  const survivor = new Store(path);
  const missing = acknowledged.filter((name) => survivor.get("configmaps", `default/${name}`) === undefined);
  survivor.close();
  expect(acknowledged.length).toBeGreaterThanOrEqual(500);
  expect(missing).toEqual([]);
});
