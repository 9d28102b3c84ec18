import { KubeClient, type Resource } from "@kws/kube/client";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import type { Transport } from "@kws/kube/transport";
import { expect, test } from "vitest";
import type { Condition } from "../project/schema.ts";
import { untilCondition } from "./conditions.ts";

const kafkas: Resource = { group: "kafka.example.com", version: "v1", resource: "kafkas", namespaced: true };

/** A cluster that learns of the kind when it is told to. */
function setUp() {
  const api = createMemoryApi();
  let known = false;
  const documents: Record<string, object> = {
    "/apis/kafka.example.com": { preferredVersion: { version: "v1" } },
    "/apis/kafka.example.com/v1": { resources: [{ name: "kafkas", namespaced: true }] },
  };
  const transport: Transport = {
    async request(request) {
      const document = documents[request.path];
      if (document === undefined) return api.request(request);
      const missing = { kind: "Status", status: "Failure", reason: "NotFound", code: 404 };
      const text = JSON.stringify(known ? document : missing);
      return { status: known ? 200 : 404, headers: {}, body: once(text) };
    },
  };
  const client = new KubeClient(transport);
  const told: string[] = [];
  const wait = (wanted: Partial<Condition>, timeoutMs = 60_000) =>
    untilCondition(
      { resource: "kafkas.kafka.example.com/main", ...wanted },
      {
        client,
        namespace: "shop",
        signal: new AbortController().signal,
        timeoutMs,
        clock: () => Date.now(),
        onProgress(text) {
          told.push(text);
          void steps[text]?.();
        },
        at: "kws.yaml:3:1",
      },
    );
  /** What happens when the wait says this. */
  const steps: Record<string, () => unknown> = {};
  const write = (conditions: object[]) =>
    client.create(kafkas, {
      apiVersion: "kafka.example.com/v1",
      kind: "Kafka",
      metadata: { name: "main", namespace: "shop" },
      status: { conditions },
    });
  return { client, told, steps, wait, write, learn: () => (known = true) };
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

test("a kind, an object and its condition are waited for, one after the other", async () => {
  const { client, told, steps, wait, write, learn } = setUp();
  const unready = "Ready is False: Creating: two of three brokers";
  steps["the cluster knows no kafkas.kafka.example.com"] = learn;
  steps["it is not there"] = () =>
    write([{ type: "Ready", status: "False", reason: "Creating", message: "two of three brokers" }]);
  steps[unready] = () =>
    client.patch(kafkas, "main", "shop", "merge", {
      status: { conditions: [{ type: "Ready", status: "True" }] },
    });
  await wait({ condition: "Ready" });
  expect(told).toEqual(Object.keys(steps));
});

test("without a condition the object's own readiness counts", async () => {
  const { told, wait, write, learn } = setUp();
  learn();
  await write([]);
  await wait({});
  expect(told).toEqual([]);
});

test("what does not come is told with how it was at last", async () => {
  const { wait, write, learn } = setUp();
  learn();
  await write([]);
  await expect(wait({ condition: "Ready" }, -1000)).rejects.toMatchObject({
    code: "timeout",
    at: "kws.yaml:3:1",
    message: "kafkas.kafka.example.com/main Ready did not come in -1 s: it has no condition Ready yet",
  });
});

test("what names no object is refused with its place", async () => {
  await expect(setUp().wait({ resource: "kafka main" })).rejects.toMatchObject({
    code: "config",
    at: "kws.yaml:3:1",
  });
});
