import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectTls } from "node:tls";
import { connect } from "node:net";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { silent } from "@kws/base/logger";
import { KubeClient, type WatchEvent } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import {
  configMaps,
  customResourceDefinitions,
  deployments,
  namespaces,
  nodes,
  pods,
  roleBindings,
  roles,
  serviceAccounts,
  services,
} from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import { startApiServer } from "./server.ts";
import { startTestServer, type TestServer } from "./testing/server.ts";

let test1: TestServer;
let client: KubeClient;
let namespace = "";
let count = 0;

beforeAll(async () => {
  test1 = await startTestServer({
    staticTokens: [{ token: "secret-token", user: { name: "jane", groups: [] } }],
  });
  client = test1.client;
});
afterAll(() => test1.close());
beforeEach(async () => {
  namespace = `test-${count++}`;
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
});

function configMap(name: string, labels?: Record<string, string>): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels }, data: { a: "b" } };
}

function deployment(name: string): KubeObject {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  };
}

async function pod(name: string, extra: object = {}): Promise<KubeObject> {
  if ((await client.find(serviceAccounts, "default", namespace)) === undefined) {
    await client.create(serviceAccounts, {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace },
    });
  }
  return client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    spec: { containers: [{ name: "c", image: "i" }], ...extra },
  });
}

async function refusal(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

const webSocket = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
};

function call(path: string, headers: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const url = `${test1.server.url}${path}`;
    const outgoing = httpsRequest(url, { ca: test1.server.caCertificate, headers }, (answer) => {
      let body = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body }));
    });
    outgoing.on("error", reject).end();
  });
}

/** Events until `count` have come. */
async function take(events: AsyncGenerator<WatchEvent>, wanted: number): Promise<WatchEvent[]> {
  const taken: WatchEvent[] = [];
  for await (const event of events) {
    taken.push(event);
    if (taken.length === wanted) break;
  }
  return taken;
}

test("without credentials everything but health and version is refused", async () => {
  for (const path of ["/api/v1/namespaces", "/api", "/apis", "/openapi/v3", "/metrics"]) {
    const { status, body } = await call(path);
    expect([path, status]).toEqual([path, 401]);
    expect(JSON.parse(body)).toMatchObject({ kind: "Status", reason: "Unauthorized", code: 401 });
  }
  expect((await call("/version")).status).toBe(200);
  expect((await call("/healthz")).body).toBe("ok");
});

test("a wrong token is refused, a right one is a user without rights", async () => {
  expect((await call("/version", { authorization: "Bearer wrong" })).status).toBe(401);
  const { status, body } = await call("/api/v1/pods", { authorization: "Bearer secret-token" });
  expect(status).toBe(403);
  expect((JSON.parse(body) as { message: string }).message).toBe(
    'pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope',
  );
});

test("a body that is too large, or no JSON, is refused with a status", async () => {
  const post = async (body: string): Promise<number> => {
    const kubeconfig = parse(test1.server.kubeconfig()) as {
      users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
    };
    const admin = kubeconfig.users[0]?.user;
    const outgoing = httpsRequest(`${test1.server.url}/api/v1/namespaces/default/configmaps`, {
      method: "POST",
      ca: test1.server.caCertificate,
      cert: Buffer.from(admin?.["client-certificate-data"] ?? "", "base64"),
      key: Buffer.from(admin?.["client-key-data"] ?? "", "base64"),
      headers: { "content-type": "application/json" },
    });
    outgoing.end(body);
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    answer.resume();
    return answer.statusCode ?? 0;
  };
  expect(await post("{")).toBe(400);
  expect(await post(JSON.stringify({ ...configMap("x"), data: { a: "x".repeat(4_000_000) } }))).toBe(413);
});

test("a ServiceAccount's token works until the ServiceAccount is gone", async () => {
  const metadata = { name: "bob", namespace };
  await client.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
  const { status } = await client.create<KubeObject>(
    serviceAccounts,
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", metadata, spec: {} },
    { subresource: "token" },
  );
  const authorization = `Bearer ${status.token as string}`;
  const self = await call(`/api/v1/namespaces/${namespace}/pods`, { authorization });
  expect(self.body).toContain(`User \\"system:serviceaccount:${namespace}:bob\\" cannot list`);
  await client.delete(serviceAccounts, "bob", namespace);
  expect((await call("/api", { authorization })).status).toBe(401);
});

test("the same server answers on its Unix socket", async () => {
  const raw = connect(test1.server.socketPath);
  const socket = connectTls({
    socket: raw,
    ca: test1.server.caCertificate,
    servername: "kubernetes.default.svc",
  });
  socket.end("GET /healthz HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await once(socket, "close");
  expect(text).toContain("200 OK");
  expect(socket.authorized).toBe(true);
});

test("keys and storage are readable by their owner alone", async () => {
  for (const file of await readdir(join(test1.dataDir, "pki"))) {
    expect((await stat(join(test1.dataDir, "pki", file))).mode & 0o077).toBe(0);
  }
});

test("storage and the socket are their owner's alone, whatever the umask", async () => {
  for (const file of await readdir(test1.dataDir)) {
    expect([file, (await stat(join(test1.dataDir, file))).mode & 0o077]).toEqual([file, 0]);
  }
});

test("who may only read pods cannot run commands by a WebSocket, which begins with GET", async () => {
  const group = "rbac.authorization.k8s.io";
  const metadata = { name: "exec-reader", namespace };
  await client.create(roles, {
    apiVersion: `${group}/v1`,
    kind: "Role",
    metadata,
    rules: [{ apiGroups: [""], resources: ["pods", "pods/exec"], verbs: ["get"] }],
  });
  await client.create(roleBindings, {
    apiVersion: `${group}/v1`,
    kind: "RoleBinding",
    metadata,
    roleRef: { apiGroup: group, kind: "Role", name: "exec-reader" },
    subjects: [{ kind: "User", name: "jane", apiGroup: group }],
  });
  const { status, body } = await call(`/api/v1/namespaces/${namespace}/pods/p/exec?command=id`, {
    ...webSocket,
    authorization: "Bearer secret-token",
  });
  expect(status).toBe(403);
  expect(body).toContain('cannot create resource \\"pods/exec\\"');
});

test("an upgrade of a path that is none is refused like any other", async () => {
  expect((await call("//", webSocket)).status).toBe(404);
  expect((await call("//[", webSocket)).status).toBe(404);
});

test("a definition that makes no sense is stored, and the server serves and starts all the same", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "apiserver-"));
  const options = { dataDir, logger: silent, now: Date.now, streams: () => undefined };
  const definition = (plural: string, version: object): KubeObject => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.example.com` },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural, singular: plural, kind: plural, listKind: `${plural}List` },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object" } },
          ...version,
        },
      ],
    },
  });
  for (const round of ["one", "two"]) {
    const server = await startApiServer(options);
    const admin = new KubeClient(server.transport());
    const paths = ["[?(@", `.${"x".repeat(5000)}`];
    for (const [index, jsonPath] of paths.entries()) {
      const columns = { additionalPrinterColumns: [{ name: "Column", type: "string", jsonPath }] };
      const served = definition(`${round}${index}s`, columns);
      await admin.create(customResourceDefinitions, served).catch(() => undefined);
    }
    const fine = definition(`${round}fines`, {});
    await admin.create(customResourceDefinitions, fine);
    await vi.waitFor(async () => {
      const { conditions } = (await admin.get(customResourceDefinitions, fine.metadata.name))["status"] as {
        conditions: { type: string; status: string }[];
      };
      expect(conditions).toContainEqual(expect.objectContaining({ type: "Established", status: "True" }));
    });
    await server.close();
  }
  await rm(dataDir, { recursive: true });
});

test("a forged continue token is the client's error", async () => {
  const forged = Buffer.from(JSON.stringify({ rv: 9e14, start: "" })).toString("base64url");
  const path = `/api/v1/namespaces/${namespace}/configmaps?limit=1&continue=${forged}`;
  const { status } = await test1.server.transport().request({ method: "GET", path });
  expect(status).toBe(400);
});

test("creating twice, reading what is not there and updating an old version fail in upstream's words", async () => {
  const created = await client.create(configMaps, configMap("a"));
  expect((await refusal(client.create(configMaps, configMap("a")))).message).toBe(
    'configmaps "a" already exists',
  );
  expect((await refusal(client.get(configMaps, "b", namespace))).message).toBe('configmaps "b" not found');
  await client.update(configMaps, { ...created, data: { a: "c" } });
  const stale = await refusal(client.update(configMaps, { ...created, data: { a: "d" } }));
  expect(stale.message).toBe(
    'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
  );
  expect(stale.code).toBe(409);
});

test("a write that changes nothing keeps the resourceVersion", async () => {
  const created = await client.create(configMaps, configMap("a"));
  const again = await client.patch(configMaps, "a", namespace, "merge", { data: { a: "b" } });
  expect(again.metadata.resourceVersion).toBe(created.metadata.resourceVersion);
});

test("generateName makes distinct names, and a dry run stores nothing", async () => {
  const named = { ...configMap(""), metadata: { name: "", namespace, generateName: "x-" } };
  const [one, two] = [await client.create(configMaps, named), await client.create(configMaps, named)];
  expect(one.metadata.name).toMatch(/^x-[a-z0-9]{5}$/);
  expect(two.metadata.name).not.toBe(one.metadata.name);
  await client.create(configMaps, configMap("dry"), { dryRun: true });
  expect(await client.find(configMaps, "dry", namespace)).toBeUndefined();
});

test("the generation counts changes of the spec alone, and status is written only as status", async () => {
  const created = await client.create(deployments, deployment("d"));
  expect(created.metadata.generation).toBe(1);
  const changed = await client.patch(deployments, "d", namespace, "merge", {
    spec: { replicas: 2 },
    status: { replicas: 7 },
  });
  expect(changed.metadata.generation).toBe(2);
  expect(changed.status?.replicas).toBeUndefined();
  const status = await client.patch(
    deployments,
    "d",
    namespace,
    "merge",
    { spec: { replicas: 9 }, status: { replicas: 2 } },
    { subresource: "status" },
  );
  expect([status.metadata.generation, status.spec.replicas, status.status.replicas]).toEqual([2, 2, 2]);
});

test("pages show one state of the list, whatever is written between them", async () => {
  for (const name of ["a", "b", "c", "d"]) await client.create(configMaps, configMap(name));
  const first = await client.list(configMaps, namespace, { limit: 2 });
  expect(first.metadata.remainingItemCount).toBe(2);
  await client.delete(configMaps, "c", namespace);
  await client.create(configMaps, configMap("e"));
  const second = await client.list(configMaps, namespace, { limit: 2, continue: first.metadata.continue });
  expect([...first.items, ...second.items].map(({ metadata }) => metadata.name)).toEqual([
    "a",
    "b",
    "c",
    "d",
  ]);
  expect(second.metadata.continue).toBeUndefined();
  expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
});

test("field and label selectors narrow a list; an unknown field is an error", async () => {
  await client.create(configMaps, configMap("a", { tier: "web" }));
  await client.create(configMaps, configMap("b", { tier: "db" }));
  const names = async (options: object) =>
    (await client.list(configMaps, namespace, options)).items.map(({ metadata }) => metadata.name);
  expect(await names({ labelSelector: "tier in (web)" })).toEqual(["a"]);
  expect(await names({ labelSelector: "tier!=web" })).toEqual(["b"]);
  expect(await names({ fieldSelector: "metadata.name=b" })).toEqual(["b"]);
  expect((await refusal(client.list(configMaps, namespace, { fieldSelector: "data.a=b" }))).code).toBe(400);
});

test("a watch with a selector shows objects coming into and leaving the selection", async () => {
  const { metadata } = await client.list(configMaps, namespace);
  await client.create(configMaps, configMap("a"));
  const label = (value: string | null) =>
    client.patch(configMaps, "a", namespace, "merge", { metadata: { labels: { tier: value } } });
  await label("web");
  await client.patch(configMaps, "a", namespace, "merge", { data: { a: "c" } });
  const left = await label("db");
  const { resourceVersion } = metadata;
  const events = await take(
    client.watch(configMaps, namespace, { resourceVersion, labelSelector: "tier=web" }),
    3,
  );
  expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
  expect(events[2]?.object.metadata.labels).toEqual({ tier: "web" });
  expect(events[2]?.object.metadata.resourceVersion).toBe(left.metadata.resourceVersion);
});

test("a streamed list ends with the bookmark that says so", async () => {
  await client.create(configMaps, configMap("a"));
  const options = { sendInitialEvents: true, allowWatchBookmarks: true };
  const [added, bookmark] = await take(client.watch(configMaps, namespace, options), 2);
  expect(added).toMatchObject({ type: "ADDED", object: { metadata: { name: "a" } } });
  expect(bookmark).toMatchObject({
    type: "BOOKMARK",
    object: { kind: "ConfigMap", metadata: { annotations: { "k8s.io/initial-events-end": "true" } } },
  });
});

test("a watch ends after its timeout", async () => {
  const events = await Array.fromAsync(client.watch(nodes, undefined, { timeoutSeconds: 1 }));
  expect(events).toEqual([]);
});

test("a watch from a version that was before a restart has expired", async () => {
  const first = await startTestServer();
  const { metadata } = await first.client.create<KubeObject>(configMaps, {
    ...configMap("a"),
    metadata: { name: "a", namespace: "default" },
  });
  await first.client.create(configMaps, { ...configMap("b"), metadata: { name: "b", namespace: "default" } });
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

test("a running pod is given its grace period, and is gone when deleted without", async () => {
  await pod("running", { nodeName: "n", terminationGracePeriodSeconds: 20 });
  await client.delete(pods, "running", namespace);
  const { metadata } = await client.get(pods, "running", namespace);
  expect(metadata.deletionGracePeriodSeconds).toBe(20);
  expect(metadata.deletionTimestamp).toBeDefined();
  await client.delete(pods, "running", namespace, { gracePeriodSeconds: 0 });
  expect(await client.find(pods, "running", namespace)).toBeUndefined();
});

test("a pod that no node runs is gone at once", async () => {
  await pod("waiting");
  await client.delete(pods, "waiting", namespace);
  expect(await client.find(pods, "waiting", namespace)).toBeUndefined();
});

test("a pod is bound to a node once", async () => {
  await pod("p");
  const binding = {
    apiVersion: "v1",
    kind: "Binding",
    metadata: { name: "p", namespace },
    target: { kind: "Node", name: "n" },
  };
  await client.create(pods, binding, { subresource: "binding" });
  const bound = await client.get(pods, "p", namespace);
  expect(bound.spec.nodeName).toBe("n");
  expect(bound.status.conditions).toContainEqual(
    expect.objectContaining({ type: "PodScheduled", status: "True" }),
  );
  expect((await refusal(client.create(pods, binding, { subresource: "binding" }))).code).toBe(409);
});

test("finalizers hold an object until the last one is taken away", async () => {
  const object = configMap("held");
  object.metadata.finalizers = ["example.com/hold"];
  await client.create(configMaps, object);
  await client.delete(configMaps, "held", namespace);
  expect((await client.get(configMaps, "held", namespace)).metadata.deletionTimestamp).toBeDefined();
  await client.patch(configMaps, "held", namespace, "merge", { metadata: { finalizers: null } });
  expect(await client.find(configMaps, "held", namespace)).toBeUndefined();
});

test("a deletion with another uid is refused", async () => {
  await client.create(configMaps, configMap("a"));
  const error = await refusal(client.delete(configMaps, "a", namespace, { preconditions: { uid: "other" } }));
  expect(error.message).toContain("Precondition failed: UID in precondition: other");
});

test("a namespace that is being deleted takes nothing new and goes when it is finalized", async () => {
  await client.delete(namespaces, namespace);
  const terminating = await client.get(namespaces, namespace);
  expect(terminating.status.phase).toBe("Terminating");
  const error = await refusal(client.create(configMaps, configMap("a")));
  expect([error.code, error.status.details?.causes?.[0]?.reason]).toEqual([403, "NamespaceTerminating"]);
  await client.update(namespaces, { ...terminating, spec: { finalizers: [] } }, { subresource: "finalize" });
  expect(await client.find(namespaces, namespace)).toBeUndefined();
});

test("apply creates, co-owns, conflicts, and takes over when forced", async () => {
  const applied = (value: string) => ({ ...configMap("a"), data: { value } });
  await client.apply(configMaps, applied("1"), { fieldManager: "one" });
  const error = await refusal(client.apply(configMaps, applied("2"), { fieldManager: "two" }));
  expect(error.message).toBe('Apply failed with 1 conflict: conflict with "one": .data.value');
  expect(error.status.details?.causes).toEqual([
    { reason: "FieldManagerConflict", message: 'conflict with "one"', field: ".data.value" },
  ]);
  const taken = await client.apply(configMaps, applied("2"), { fieldManager: "two", force: true });
  expect(taken.metadata.managedFields?.map(({ manager }) => manager)).toEqual(["two"]);
});

test("the API server's own Service has the first address", async () => {
  expect((await client.get(services, "kubernetes", "default")).spec.clusterIP).toBe("10.96.0.1");
});

test("a custom resource is served once its definition is established and is gone with it", async () => {
  const crds = {
    group: "apiextensions.k8s.io",
    version: "v1",
    resource: "customresourcedefinitions",
    namespaced: false,
  };
  const widgets = { group: "example.com", version: "v1", resource: "widgets", namespaced: true };
  const schema = {
    type: "object",
    properties: { spec: { type: "object", properties: { size: { type: "integer", default: 3 } } } },
  };
  await client.create(crds, {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "widgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "widgets", kind: "Widget" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  });
  await expect
    .poll(() =>
      client.list(widgets, namespace).then(
        ({ kind }) => kind,
        () => "none",
      ),
    )
    .toBe("WidgetList");
  const widget = {
    apiVersion: "example.com/v1",
    kind: "Widget",
    metadata: { name: "w", namespace },
    spec: { color: "red" },
  };
  const created = await client.create(widgets, widget);
  expect(created.spec).toEqual({ size: 3 });
  await client.delete(crds, "widgets.example.com");
  await expect.poll(() => client.find(crds, "widgets.example.com")).toBeUndefined();
  expect((await refusal(client.get(widgets, "w", namespace))).code).toBe(404);
});
