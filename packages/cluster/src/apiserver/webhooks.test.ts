import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, deployments, endpointSlices, namespaces } from "@kws/kube/resources";
import type { NodeStreams } from "../kubelet/streams.ts";
import { loadPki } from "./pki.ts";
import { configMap, createPod, refusal, serverFixture } from "./testing/fixture.ts";

interface AdmissionRequest {
  uid: string;
  name: string;
  namespace: string;
  operation: string;
  object: KubeObject | null;
  oldObject: KubeObject | null;
  dryRun: boolean;
}

/** What a webhook of the test answers; undefined is never. */
type Hook = (request: AdmissionRequest) => object | undefined;

const group = "admissionregistration.k8s.io";
const mutating: Resource = {
  group,
  version: "v1",
  resource: "mutatingwebhookconfigurations",
  namespaced: false,
};
const validating: Resource = { ...mutating, resource: "validatingwebhookconfigurations" };

let server: Server;
let folder: string;
let caBundle: string;
let hooks: Record<string, Hook> = {};
let asked: AdmissionRequest[] = [];
const port = (): number => (server.address() as AddressInfo).port;

const api = serverFixture({
  // A port of any pod is that of the webhooks' server.
  streams: () => ({ portForward: async () => connect(port(), "127.0.0.1") }) as unknown as NodeStreams,
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "webhooks-"));
  const pki = await loadPki(folder, Date.now());
  caBundle = Buffer.from(pki.caCertificate).toString("base64");
  server = createServer({ key: pki.serverKey, cert: pki.serverCertificate }, (incoming, outgoing) => {
    void json(incoming).then((review) => {
      const { request } = review as { request: AdmissionRequest };
      asked.push(request);
      const answer = hooks[incoming.url ?? ""]?.(request);
      if (answer === undefined) return;
      const response = { uid: request.uid, ...answer };
      outgoing.end(JSON.stringify({ kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", response }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  for (const resource of [mutating, validating]) {
    for (const { metadata } of (await api.client.list(resource)).items)
      await api.client.delete(resource, metadata.name);
  }
  asked = [];
});

/** Registers a webhook about ConfigMaps of the test's namespace. */
async function register(
  resource: Resource,
  name: string,
  hook: Hook | undefined,
  more: object = {},
): Promise<void> {
  hooks = { ...hooks, ...(hook === undefined ? {} : { [`/${name}`]: hook }) };
  await api.client.create(resource, {
    apiVersion: `${group}/v1`,
    kind: resource === mutating ? "MutatingWebhookConfiguration" : "ValidatingWebhookConfiguration",
    metadata: { name },
    webhooks: [
      {
        name: `${name}.example.com`,
        clientConfig: { url: `https://127.0.0.1:${port()}/${name}`, caBundle },
        rules: [
          {
            apiGroups: [""],
            apiVersions: ["v1"],
            resources: ["configmaps"],
            operations: ["CREATE", "UPDATE"],
          },
        ],
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": api.namespace } },
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        ...more,
      },
    ],
  });
}

const patching = (...operations: object[]): object => ({
  allowed: true,
  patchType: "JSONPatch",
  patch: Buffer.from(JSON.stringify(operations)).toString("base64"),
});

test("mutating webhooks change an object one after the other, by the names of their configurations", async () => {
  await register(mutating, "b", ({ object }) =>
    patching({ op: "add", path: "/data/b", value: `after ${object?.data?.a}` }),
  );
  await register(mutating, "a", () => patching({ op: "replace", path: "/data/a", value: "1" }));
  const created = await api.client.create(configMaps, configMap(api.namespace, "m"));
  expect(created.data).toEqual({ a: "1", b: "after 1" });
  expect((await api.client.get(configMaps, "m", api.namespace)).data).toEqual(created.data);
});

test("what a webhook adds gets its defaults, and the object keeps its name", async () => {
  const path = "/spec/template/spec/containers/1";
  await register(
    mutating,
    "sidecar",
    () =>
      patching(
        { op: "add", path, value: { name: "side", image: "side:1" } },
        { op: "replace", path: "/metadata/name", value: "other" },
      ),
    {
      rules: [
        { apiGroups: ["apps"], apiVersions: ["*"], resources: ["deployments"], operations: ["CREATE"] },
      ],
    },
  );
  const created = await api.client.create(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", namespace: api.namespace },
    spec: {
      selector: { matchLabels: { app: "d" } },
      template: { metadata: { labels: { app: "d" } }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  });
  expect(created.metadata.name).toBe("d");
  expect(created.spec.template.spec.containers[1]).toMatchObject({ imagePullPolicy: "IfNotPresent" });
});

test("a validating webhook sees what mutating ones made of the object, and its refusal says who refused", async () => {
  await register(mutating, "m", () => patching({ op: "add", path: "/data/bad", value: "yes" }));
  await register(validating, "v", ({ object }) =>
    object?.data?.bad ? { allowed: false, status: { message: "no bad data", code: 403 } } : { allowed: true },
  );
  const error = await refusal(api.client.create(configMaps, configMap(api.namespace, "x")));
  expect([error.code, error.message]).toEqual([
    403,
    'admission webhook "v.example.com" denied the request: no bad data',
  ]);
  expect(await api.client.find(configMaps, "x", api.namespace)).toBeUndefined();
});

test("a refusal that explains nothing is one all the same", async () => {
  await register(validating, "v", () => ({ allowed: false, status: { code: 200, status: "Success" } }));
  const error = await refusal(api.client.create(configMaps, configMap(api.namespace, "x")));
  expect([error.code, error.message]).toEqual([
    400,
    'admission webhook "v.example.com" denied the request without explanation',
  ]);
});

test("deletions are asked about with the object that goes", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "kept"));
  const rules = [{ apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"], operations: ["DELETE"] }];
  await register(validating, "v", ({ oldObject }) => ({ allowed: oldObject?.metadata.name !== "kept" }), {
    rules,
  });
  expect((await refusal(api.client.delete(configMaps, "kept", api.namespace))).message).toContain("denied");
  expect(asked.map(({ operation, object }) => [operation, object])).toEqual([["DELETE", null]]);
});

test("other kinds, namespaces, labels and subresources are not asked about", async () => {
  await register(validating, "v", () => ({ allowed: false }), {
    objectSelector: { matchLabels: { checked: "yes" } },
  });
  await api.client.create(configMaps, configMap(api.namespace, "unlabelled"));
  await api.client.create(configMaps, configMap("default", "elsewhere", { checked: "yes" }));
  await api.client.create(namespaces, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: `${api.namespace}-more`, labels: { checked: "yes" } },
  });
  expect(asked).toEqual([]);
  await refusal(api.client.create(configMaps, configMap(api.namespace, "labelled", { checked: "yes" })));
  expect(asked).toHaveLength(1);
});

test("a webhook that does not answer refuses, unless it may be ignored", async () => {
  const clientConfig = { url: "https://127.0.0.1:1/", caBundle };
  await register(validating, "v", undefined, { clientConfig, failurePolicy: "Ignore" });
  await api.client.create(configMaps, configMap(api.namespace, "ignored"));
  await register(validating, "w", undefined, { clientConfig });
  const error = await refusal(api.client.create(configMaps, configMap(api.namespace, "refused")));
  expect([error.code, error.message]).toEqual([
    500,
    expect.stringMatching(/^failed calling webhook "w.example.com": .*ECONNREFUSED/),
  ]);
});

test("a certificate of another authority, an answer to another request and a broken patch are failures", async () => {
  const url = `https://127.0.0.1:${port()}/v`;
  await register(validating, "v", () => ({ allowed: true }), { clientConfig: { url } });
  await refusal(api.client.create(configMaps, configMap(api.namespace, "x")));
  await api.client.delete(validating, "v");
  await register(validating, "v", () => ({ uid: "other", allowed: true }));
  expect((await refusal(api.client.create(configMaps, configMap(api.namespace, "x")))).message).toContain(
    "not about the request",
  );
  await api.client.delete(validating, "v");
  await register(mutating, "m", () => patching({ op: "remove", path: "/spec/none" }));
  expect((await refusal(api.client.create(configMaps, configMap(api.namespace, "x")))).code).toBe(500);
});

test("a webhook that takes too long is given up", async () => {
  await register(validating, "slow", () => undefined, { timeoutSeconds: 1 });
  const error = await refusal(api.client.create(configMaps, configMap(api.namespace, "x")));
  expect([error.code, error.message]).toEqual([
    500,
    expect.stringMatching(/^failed calling webhook "slow.example.com": .*timeout/),
  ]);
});

test("a dry run says so", async () => {
  await register(validating, "v", () => ({ allowed: true }));
  await api.client.create(configMaps, configMap(api.namespace, "x"), { dryRun: true });
  expect(asked.map(({ dryRun }) => dryRun)).toEqual([true]);
});

test("a webhook behind a Service is reached through one of its pods", async () => {
  const target = { ...api, namespace: "default", client: api.client };
  await createPod(target, "hook");
  await api.client.create(endpointSlices, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: "hook",
      namespace: "default",
      labels: { "kubernetes.io/service-name": "kubernetes" },
    },
    addressType: "IPv4",
    ports: [{ name: "https", port: 8443, protocol: "TCP" }],
    endpoints: [
      { addresses: ["10.244.0.9"], targetRef: { kind: "Pod", name: "hook", namespace: "default" } },
    ],
  });
  // The certificate of the test is valid for the name of this Service alone.
  const service = { namespace: "default", name: "kubernetes", path: "/s" };
  await register(validating, "s", () => ({ allowed: false, status: { reason: "Because" } }), {
    clientConfig: { service, caBundle },
  });
  expect((await refusal(api.client.create(configMaps, configMap(api.namespace, "x")))).message).toBe(
    'admission webhook "s.example.com" denied the request: Because',
  );
});

test("configurations that could not be served are refused", async () => {
  const refused = async (more: object): Promise<string> =>
    (await refusal(register(validating, "bad", undefined, more))).message;
  expect(await refused({ clientConfig: { url: "http://127.0.0.1/" } })).toContain("only allowed URL scheme");
  const matchConditions = [{ name: "a", expression: "... [] bad expression" }];
  expect(await refused({ matchConditions })).toContain("compilation failed");
  expect(await refused({ timeoutSeconds: 31 })).toContain("between 1 and 30 seconds");
});

test("a webhook is asked only where its conditions are met, of the object as it is by then", async () => {
  await register(mutating, "a", () => patching({ op: "add", path: "/data/marked", value: "yes" }));
  await register(mutating, "b", () => patching({ op: "add", path: "/data/b", value: "1" }), {
    matchConditions: [
      { name: "not-skipped", expression: "object.metadata.name != 'skip-me'" },
      { name: "marked", expression: "object.data.marked == 'yes' && request.operation == 'CREATE'" },
    ],
  });
  const skipped = await api.client.create(configMaps, configMap(api.namespace, "skip-me"));
  expect(skipped.data).toEqual({ a: "b", marked: "yes" });
  const other = await api.client.create(configMaps, configMap(api.namespace, "other"));
  expect(other.data).toEqual({ a: "b", marked: "yes", b: "1" });
});

test("a condition that fails refuses, or skips the webhook, by its failurePolicy", async () => {
  const matchConditions = [{ name: "fails", expression: "object.data.missing == 'x'" }];
  await register(validating, "v", () => ({ allowed: false }), { matchConditions });
  const error = await refusal(api.client.create(configMaps, configMap(api.namespace, "x")));
  expect([error.code, error.message]).toEqual([403, expect.stringContaining("no such key: missing")]);
  await api.client.delete(validating, "v");
  await register(validating, "v", () => ({ allowed: false }), { matchConditions, failurePolicy: "Ignore" });
  await api.client.create(configMaps, configMap(api.namespace, "x"));
});

test("a webhook that wants it is asked again about what later ones have changed", async () => {
  await register(
    mutating,
    "a",
    ({ object }) =>
      patching({ op: "add", path: "/data/seen", value: Object.keys(object?.data ?? {}).join(",") }),
    {
      reinvocationPolicy: "IfNeeded",
    },
  );
  await register(mutating, "b", () => patching({ op: "add", path: "/data/later", value: "" }));
  const created = await api.client.create(configMaps, configMap(api.namespace, "m"));
  expect(created.data?.seen).toBe("a,seen,later");
});

test("a webhook's warnings reach the client", async () => {
  await register(validating, "v", () => ({ allowed: true, warnings: ["mind the gap"] }));
  const response = await api.server.transport().request({
    method: "POST",
    path: `/api/v1/namespaces/${api.namespace}/configmaps`,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(configMap(api.namespace, "w")),
  });
  expect(response.headers["warning"]).toBe('299 - "mind the gap"');
});

test("connections are asked about with their options and the name of what they lead to", async () => {
  await createPod(api, "closed");
  const rules = [{ apiGroups: [""], apiVersions: ["v1"], resources: ["pods/*"], operations: ["CONNECT"] }];
  const matchConditions = [{ name: "proxy", expression: "request.subResource == 'proxy'" }];
  const refusing = () => ({ allowed: false, status: { message: "closed" } });
  await register(validating, "v", refusing, { rules, matchConditions });
  const response = await api.server.transport().request({
    method: "GET",
    path: `/api/v1/namespaces/${api.namespace}/pods/closed/proxy/metrics`,
  });
  expect(response.status).toBe(400);
  expect(asked).toMatchObject([
    {
      operation: "CONNECT",
      name: "closed",
      namespace: api.namespace,
      object: { kind: "PodProxyOptions", apiVersion: "v1", path: "/metrics" },
      oldObject: null,
    },
  ]);
});
