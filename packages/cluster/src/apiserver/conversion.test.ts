import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { loadPki } from "./pki.ts";
import { refusal, serverFixture } from "./testing/fixture.ts";

const api = serverFixture();
const group = "ports.example.com";
const definitions: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  resource: "customresourcedefinitions",
  namespaced: false,
};

let server: Server;
let folder: string;
let clientConfig: object;
/** What the webhook says instead of converting. */
let failure: string | undefined;

/** v1 has `hostPort`, v2 has `host` and `port`. */
function convert(object: KubeObject, apiVersion: string): KubeObject {
  const { hostPort, host, port, ...rest } = object as KubeObject & Record<string, string>;
  if (object.apiVersion === apiVersion) return object;
  const [newHost, newPort] = (hostPort ?? "").split(":");
  const fields = apiVersion.endsWith("/v2")
    ? { host: newHost, port: newPort }
    : { hostPort: `${host}:${port}` };
  return { ...rest, ...fields, apiVersion };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "conversion-"));
  const pki = await loadPki(folder, Date.now());
  server = createServer({ key: pki.serverKey, cert: pki.serverCertificate }, (incoming, outgoing) => {
    void json(incoming).then((review) => {
      const { request } = review as {
        request: { uid: string; desiredAPIVersion: string; objects: KubeObject[] };
      };
      const { uid, desiredAPIVersion, objects } = request;
      const response =
        failure === undefined
          ? {
              uid,
              result: { status: "Success" },
              convertedObjects: objects.map((one) => convert(one, desiredAPIVersion)),
            }
          : { uid, result: { status: "Failed", message: failure } };
      outgoing.end(
        JSON.stringify({ kind: "ConversionReview", apiVersion: "apiextensions.k8s.io/v1", response }),
      );
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const caBundle = Buffer.from(pki.caCertificate).toString("base64");
  clientConfig = { url: `https://127.0.0.1:${port}/convert`, caBundle };
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

function versions(storage: string): object[] {
  const text = { type: "string" };
  const version = (name: string, properties: object) => ({
    name,
    served: true,
    storage: name === storage,
    schema: { openAPIV3Schema: { type: "object", properties } },
  });
  return [version("v1", { hostPort: text }), version("v2", { host: text, port: text })];
}

/** Defines a kind that is stored as v1; answers its versions, and objects of them. */
async function define() {
  const kind = `Port${api.namespace.replaceAll("-", "")}`;
  const resource = `${kind.toLowerCase()}s`;
  const crd = `${resource}.${group}`;
  failure = undefined;
  await api.client.create(definitions, {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: crd },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural: resource },
      versions: versions("v1"),
      conversion: { strategy: "Webhook", webhook: { clientConfig, conversionReviewVersions: ["v1"] } },
    },
  });
  const of = (version: string): Resource => ({ group, version, resource, namespaced: true });
  await vi.waitFor(() => api.client.list(of("v2"), api.namespace));
  const objectOf = (version: string, name: string, fields: object): KubeObject => ({
    apiVersion: `${group}/${version}`,
    kind,
    metadata: { name, namespace: api.namespace },
    ...fields,
  });
  return { crd, v1: of("v1"), v2: of("v2"), objectOf };
}

test("an object is read and changed in another version than the one it was written in", async () => {
  const { v1, v2, objectOf } = await define();
  await api.client.create(v1, objectOf("v1", "a", { hostPort: "localhost:8080" }));
  expect(await api.client.get(v2, "a", api.namespace)).toMatchObject({
    apiVersion: `${group}/v2`,
    host: "localhost",
    port: "8080",
  });
  const patched = await api.client.patch(v2, "a", api.namespace, "merge", { port: "9090" });
  expect(patched).toMatchObject({ apiVersion: `${group}/v2`, port: "9090" });
  expect(await api.client.get(v1, "a", api.namespace)).toMatchObject({ hostPort: "localhost:9090" });
});

test("a list has all objects in one version, whichever they are stored in", async () => {
  const { crd, v1, v2, objectOf } = await define();
  await api.client.create(v1, objectOf("v1", "a", { hostPort: "localhost:1" }));
  await api.client.patch(definitions, crd, undefined, "merge", { spec: { versions: versions("v2") } });
  await api.client.create(v1, objectOf("v1", "b", { hostPort: "localhost:2" }));
  expect((await api.client.list(v2, api.namespace)).items).toMatchObject([{ port: "1" }, { port: "2" }]);
  expect((await api.client.list(v1, api.namespace)).items).toMatchObject([
    { hostPort: "localhost:1" },
    { hostPort: "localhost:2" },
  ]);
});

test("a watch shows changes in its own version, in their order", async () => {
  const { v1, v2, objectOf } = await define();
  const seen: unknown[] = [];
  const response = await api.server.transport().request({
    method: "GET",
    path: `/apis/${group}/v2/namespaces/${api.namespace}/${v2.resource}?watch=1`,
  });
  const reading = (async () => {
    for await (const chunk of response.body) {
      for (const line of Buffer.from(chunk).toString().trim().split("\n")) {
        const { type, object } = JSON.parse(line) as { type: string; object: KubeObject };
        seen.push([type, object["port"]]);
      }
      if (seen.length >= 3) return;
    }
  })();
  await api.client.create(v1, objectOf("v1", "a", { hostPort: "localhost:1" }));
  await api.client.patch(v1, "a", api.namespace, "merge", { hostPort: "localhost:2" });
  await api.client.delete(v1, "a", api.namespace);
  await reading;
  expect(seen).toEqual([
    ["ADDED", "1"],
    ["MODIFIED", "2"],
    ["DELETED", "2"],
  ]);
});

test("a conversion that fails is told with its reason, and other versions are served all the same", async () => {
  const { v1, v2, objectOf } = await define();
  await api.client.create(v1, objectOf("v1", "a", { hostPort: "localhost:1" }));
  failure = "no idea";
  const error = await refusal(api.client.get(v2, "a", api.namespace));
  expect([error.code, error.message]).toEqual([
    500,
    expect.stringMatching(/^conversion webhook for .* failed: no idea$/),
  ]);
  expect(await api.client.get(v1, "a", api.namespace)).toMatchObject({ hostPort: "localhost:1" });
});
