import type { KubeObject } from "@kws/kube/object";
import { roleBindings, roles, serviceAccounts } from "@kws/kube/resources";
import { expect, test } from "vitest";
import { call, serverFixture } from "./testing/fixture.ts";

const api = serverFixture({
  staticTokens: [
    { token: "secret-token", user: { name: "jane", groups: [] } },
    { token: "master-token", user: { name: "root", groups: ["system:masters"] } },
  ],
  ingressMetrics: () => "requests 1\n",
});

const webSocket = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
};

test("without credentials everything but health and version is refused", async () => {
  for (const path of ["/api/v1/namespaces", "/api", "/apis", "/openapi/v3", "/metrics", "/metrics/ingress"]) {
    const { status, body } = await call(api.server, path);
    expect([path, status]).toEqual([path, 401]);
    expect(JSON.parse(body)).toMatchObject({ kind: "Status", reason: "Unauthorized", code: 401 });
  }
  expect((await call(api.server, "/version")).status).toBe(200);
  expect((await call(api.server, "/healthz")).body).toBe("ok");
});

test("what the Ingress has served is told to those who may read it", async () => {
  const ask = (token: string) => call(api.server, "/metrics/ingress", { authorization: `Bearer ${token}` });
  expect((await ask("secret-token")).status).toBe(403);
  expect(await ask("master-token")).toMatchObject({ status: 200, body: "requests 1\n" });
});

test("a wrong token is refused, a right one is a user without rights", async () => {
  expect((await call(api.server, "/version", { authorization: "Bearer wrong" })).status).toBe(401);
  const { status, body } = await call(api.server, "/api/v1/pods", { authorization: "Bearer secret-token" });
  expect(status).toBe(403);
  expect((JSON.parse(body) as { message: string }).message).toBe(
    'pods is forbidden: User "jane" cannot list resource "pods" in API group "" at the cluster scope',
  );
});

test("a ServiceAccount's token works until the ServiceAccount is gone", async () => {
  const metadata = { name: "bob", namespace: api.namespace };
  await api.client.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
  const { status } = await api.client.create<KubeObject>(
    serviceAccounts,
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", metadata, spec: {} },
    { subresource: "token" },
  );
  const authorization = `Bearer ${status.token as string}`;
  const self = await call(api.server, `/api/v1/namespaces/${api.namespace}/pods`, { authorization });
  expect(self.body).toContain(`User \\"system:serviceaccount:${api.namespace}:bob\\" cannot list`);
  await api.client.delete(serviceAccounts, "bob", api.namespace);
  expect((await call(api.server, "/api", { authorization })).status).toBe(401);
});

test("who may only read pods cannot run commands by a WebSocket, which begins with GET", async () => {
  const group = "rbac.authorization.k8s.io";
  const metadata = { name: "exec-reader", namespace: api.namespace };
  await api.client.create(roles, {
    apiVersion: `${group}/v1`,
    kind: "Role",
    metadata,
    rules: [{ apiGroups: [""], resources: ["pods", "pods/exec"], verbs: ["get"] }],
  });
  await api.client.create(roleBindings, {
    apiVersion: `${group}/v1`,
    kind: "RoleBinding",
    metadata,
    roleRef: { apiGroup: group, kind: "Role", name: "exec-reader" },
    subjects: [{ kind: "User", name: "jane", apiGroup: group }],
  });
  const { status, body } = await call(
    api.server,
    `/api/v1/namespaces/${api.namespace}/pods/p/exec?command=id`,
    {
      ...webSocket,
      authorization: "Bearer secret-token",
    },
  );
  expect(status).toBe(403);
  expect(body).toContain('cannot create resource \\"pods/exec\\"');
});
