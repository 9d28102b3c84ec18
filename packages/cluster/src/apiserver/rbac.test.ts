import { afterAll, beforeAll, expect, test } from "vitest";
import type { PolicyRule, ResourceAttributes } from "./authorization.ts";
import { ruleAllows } from "./rbac.ts";
import { KubeClient } from "@kws/kube/client";
import {
  clusterRoleBindings,
  clusterRoles,
  configMaps,
  roleBindings,
  roles,
  secrets,
} from "@kws/kube/resources";
import { startTestServer, type TestServer } from "./testing/server.ts";

const rule = (given: Partial<PolicyRule>): PolicyRule => ({
  verbs: ["get"],
  apiGroups: [""],
  resources: ["pods"],
  ...given,
});
const asked = (given: Partial<ResourceAttributes>): ResourceAttributes => ({
  verb: "get",
  group: "",
  resource: "pods",
  ...given,
});

test.each([
  ["the same resource and verb", {}, {}, true],
  ["another verb", {}, { verb: "list" }, false],
  ["another group", {}, { group: "apps" }, false],
  [
    "any of everything",
    { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
    { verb: "x", group: "y", resource: "z" },
    true,
  ],
  ["a subresource of an allowed resource", {}, { subresource: "log" }, false],
  ["a named subresource", { resources: ["pods/log"] }, { subresource: "log" }, true],
  [
    "a subresource of any resource",
    { resources: ["*/scale"] },
    { resource: "x", subresource: "scale" },
    true,
  ],
  ["a named object", { resourceNames: ["a"] }, { name: "a" }, true],
  ["another object than the named one", { resourceNames: ["a"] }, { name: "b" }, false],
  ["a list where only names are allowed", { resourceNames: ["a"] }, {}, false],
])("a rule and %s", (_, given, attributes, allowed) => {
  expect(ruleAllows(rule(given), asked(attributes))).toBe(allowed);
});

test("paths are allowed exactly or by their beginning", () => {
  const paths = { verbs: ["get"], nonResourceURLs: ["/metrics", "/logs/*"] };
  expect(ruleAllows(paths, { verb: "get", path: "/metrics" })).toBe(true);
  expect(ruleAllows(paths, { verb: "get", path: "/metrics/x" })).toBe(false);
  expect(ruleAllows(paths, { verb: "get", path: "/logs/x" })).toBe(true);
});

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const group = "rbac.authorization.k8s.io";
const as = (name: string) =>
  new KubeClient(server.server.transport({ name, groups: ["system:authenticated"] }));
const subjects = (name: string) => [{ kind: "User", name, apiGroup: group }];

test("a RoleBinding counts in its own namespace, from the moment it is made", async () => {
  const jane = as("jane");
  await expect(jane.list(configMaps, "default")).rejects.toThrow(/cannot list resource "configmaps"/);
  const metadata = { name: "reader", namespace: "default" };
  const rules = [{ apiGroups: [""], resources: ["configmaps"], verbs: ["list"] }];
  await server.client.create(roles, { apiVersion: `${group}/v1`, kind: "Role", metadata, rules });
  const roleRef = { apiGroup: group, kind: "Role", name: "reader" };
  const binding = {
    apiVersion: `${group}/v1`,
    kind: "RoleBinding",
    metadata,
    roleRef,
    subjects: subjects("jane"),
  };
  await server.client.create(roleBindings, binding);
  expect((await jane.list(configMaps, "default")).items).toEqual([]);
  await expect(jane.list(configMaps, "kube-system")).rejects.toThrow(/in the namespace "kube-system"/);
});

test("the role view reads workloads everywhere and no Secrets", async () => {
  const roleRef = { apiGroup: group, kind: "ClusterRole", name: "view" };
  const metadata = { name: "viewer" };
  const kind = "ClusterRoleBinding";
  await server.client.create(clusterRoleBindings, {
    apiVersion: `${group}/v1`,
    kind,
    metadata,
    roleRef,
    subjects: subjects("viewer"),
  });
  const viewer = as("viewer");
  expect((await viewer.list(configMaps, "default")).kind).toBe("ConfigMapList");
  await expect(viewer.list(secrets, "default")).rejects.toThrow(/cannot list resource "secrets"/);
  await expect(viewer.delete(configMaps, "x", "default")).rejects.toThrow(/cannot delete resource/);
});

test("nobody grants what he does not have", async () => {
  const { client } = server;
  await client.create(roleBindings, {
    apiVersion: `${group}/v1`,
    kind: "RoleBinding",
    metadata: { name: "boss", namespace: "default" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "admin" },
    subjects: subjects("boss"),
  });
  const grant = (role: string) =>
    as("boss").create(roleBindings, {
      apiVersion: `${group}/v1`,
      kind: "RoleBinding",
      metadata: { name: `grant-${role}`, namespace: "default" },
      roleRef: { apiGroup: group, kind: "ClusterRole", name: role },
      subjects: subjects("friend"),
    });
  await expect(grant("cluster-admin")).rejects.toThrow(
    /attempting to grant RBAC permissions not currently held/,
  );
  expect((await grant("edit")).metadata.name).toBe("grant-edit");
});

test("who aggregates roles that are yet to come has to hold everything", async () => {
  const { client } = server;
  await client.create(clusterRoles, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRole",
    metadata: { name: "role-author" },
    rules: [{ apiGroups: [group], resources: ["clusterroles"], verbs: ["create", "update"] }],
  });
  await client.create(clusterRoleBindings, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: "role-author" },
    roleRef: { apiGroup: group, kind: "ClusterRole", name: "role-author" },
    subjects: subjects("author"),
  });
  const aggregated = as("author").create(clusterRoles, {
    apiVersion: `${group}/v1`,
    kind: "ClusterRole",
    metadata: { name: "later" },
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { "example.com/later": "true" } }] },
    rules: [],
  });
  await expect(aggregated).rejects.toThrow(/attempting to grant RBAC permissions not currently held/);
});
