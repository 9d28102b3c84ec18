import { expect, test } from "vitest";
import type { Resource } from "@kws/kube/client";
import { configMaps, deployments } from "@kws/kube/resources";
import { configMap, refusal, serverFixture } from "./testing/fixture.ts";

const group = "admissionregistration.k8s.io";
const policies: Resource = {
  group,
  version: "v1",
  resource: "validatingadmissionpolicies",
  namespaced: false,
};
const bindings: Resource = { ...policies, resource: "validatingadmissionpolicybindings" };

const api = serverFixture();

/** A policy about ConfigMaps and Deployments of the test's namespace, and its binding. */
async function bind(spec: object, binding: object = {}): Promise<string> {
  const name = `${api.namespace}.example.com`;
  await api.client.create(policies, {
    apiVersion: `${group}/v1`,
    kind: "ValidatingAdmissionPolicy",
    metadata: { name },
    spec: {
      matchConstraints: {
        namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": api.namespace } },
        resourceRules: [
          {
            apiGroups: ["", "apps"],
            apiVersions: ["v1"],
            resources: ["configmaps", "deployments"],
            operations: ["*"],
          },
        ],
      },
      ...spec,
    },
  });
  await api.client.create(bindings, {
    apiVersion: `${group}/v1`,
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name },
    spec: { policyName: name, validationActions: ["Deny"], ...binding },
  });
  return name;
}

function deployment(name: string, replicas: number): Parameters<typeof api.client.create>[1] {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace: api.namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  };
}

test("a policy refuses what its expression is false of, with the message that another one makes", async () => {
  const name = await bind({
    validations: [
      {
        expression: "object.kind != 'Deployment' || object.spec.replicas > 1",
        messageExpression: "'wants replicas > 1, got ' + string(object.spec.replicas)",
      },
    ],
  });
  const { status } = await refusal(api.client.create(deployments, deployment("one", 1)));
  expect(status).toMatchObject({ reason: "Invalid", code: 422 });
  expect(status.message).toBe(
    `deployments.apps "one" is forbidden: ValidatingAdmissionPolicy '${name}' with binding '${name}' denied request: wants replicas > 1, got 1`,
  );
  await api.client.create(deployments, deployment("two", 2));
});

test("expressions of a policy refer to its variables, which refer to earlier ones", async () => {
  await bind({
    variables: [
      { name: "replicas", expression: "object.spec.replicas" },
      { name: "isOdd", expression: "variables.replicas % 2 == 1" },
      { name: "unread", expression: "object.nowhere.at.all" },
    ],
    matchConditions: [{ name: "deployments", expression: "request.kind.kind == 'Deployment'" }],
    validations: [
      { expression: "variables.replicas > 1" },
      { expression: "variables.isOdd", message: "replicas are odd", reason: "Forbidden" },
    ],
  });
  await api.client.create(deployments, deployment("three", 3));
  const { status } = await refusal(api.client.create(deployments, deployment("four", 4)));
  expect(status).toMatchObject({
    reason: "Forbidden",
    code: 403,
    details: { causes: [{ message: "replicas are odd" }] },
  });
  await api.client.create(configMaps, configMap(api.namespace, "unasked"));
});

test("a policy is evaluated with the parameters that its binding names", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "limits"));
  await bind(
    {
      paramKind: { apiVersion: "v1", kind: "ConfigMap" },
      validations: [{ expression: "object.metadata.name.startsWith(params.data.a)" }],
    },
    { paramRef: { name: "limits", namespace: api.namespace, parameterNotFoundAction: "Deny" } },
  );
  await api.client.create(configMaps, configMap(api.namespace, "brief"));
  const { status } = await refusal(api.client.create(configMaps, configMap(api.namespace, "other")));
  expect(status.message).toContain(
    "denied request: failed expression: object.metadata.name.startsWith(params.data.a)",
  );
});

test("a binding whose parameters are missing refuses, unless it or its policy says otherwise", async () => {
  const validations = [{ expression: "params.data.a == 'b'" }];
  const paramKind = { apiVersion: "v1", kind: "ConfigMap" };
  const name = await bind(
    { paramKind, validations },
    { paramRef: { name: "nowhere", namespace: api.namespace, parameterNotFoundAction: "Deny" } },
  );
  const { status } = await refusal(api.client.create(configMaps, configMap(api.namespace, "a")));
  expect(status.message).toContain("no params found for policy binding with `Deny` parameterNotFoundAction");
  await api.client.patch(bindings, name, undefined, "merge", {
    spec: { paramRef: { parameterNotFoundAction: "Allow" } },
  });
  await api.client.create(configMaps, configMap(api.namespace, "a"));
});

test("an expression that fails refuses by its policy's failurePolicy", async () => {
  const name = await bind({ validations: [{ expression: "object.data.missing == 'x'" }] });
  const { status } = await refusal(api.client.create(configMaps, configMap(api.namespace, "a")));
  expect(status.message).toContain(
    "expression 'object.data.missing == 'x'' resulted in error: no such key: missing",
  );
  await api.client.patch(policies, name, undefined, "merge", { spec: { failurePolicy: "Ignore" } });
  await api.client.create(configMaps, configMap(api.namespace, "a"));
});

test("a loop without an end is ended, and refuses", async () => {
  const list = `[${Array.from({ length: 40 }, (_one, index) => index).join(",")}]`;
  const loops = ["a", "b", "c", "d", "e", "f"].reduceRight(
    (inner, name) => `${list}.all(${name}, ${inner})`,
    "a >= 0",
  );
  await bind({ validations: [{ expression: loops }] });
  const { status } = await refusal(api.client.create(configMaps, configMap(api.namespace, "a")));
  expect(status.message).toContain("it takes too long");
});

test("expressions ask what the user may do", async () => {
  await bind({
    validations: [
      {
        expression:
          "authorizer.group('apps').resource('deployments').namespace('x').check('delete').allowed()",
      },
      { expression: "!authorizer.serviceAccount('x', 'y').requestResource.check('update').allowed()" },
      { expression: "namespaceObject.metadata.name == object.metadata.namespace" },
    ],
  });
  await api.client.create(configMaps, configMap(api.namespace, "a"));
  expect(await api.client.find(configMaps, "a", api.namespace)).toBeDefined();
});

test("deletions are judged by what is deleted", async () => {
  await api.client.create(configMaps, configMap(api.namespace, "kept", { keep: "yes" }));
  await bind({ validations: [{ expression: "object != null || !('keep' in oldObject.metadata.labels)" }] });
  await refusal(api.client.delete(configMaps, "kept", api.namespace));
  expect(await api.client.find(configMaps, "kept", api.namespace)).toBeDefined();
});

test("a policy that warns lets the request through", async () => {
  await bind({ validations: [{ expression: "false", message: "no" }] }, { validationActions: ["Warn"] });
  await api.client.create(configMaps, configMap(api.namespace, "a"));
  expect(await api.client.find(configMaps, "a", api.namespace)).toBeDefined();
});

test("a policy that cannot be compiled is refused, with the place", async () => {
  const bad = (validation: object) => refusal(bind({ validations: [validation] }));
  const { status } = await bad({ expression: "object.spec. + 1" });
  expect(status).toMatchObject({ reason: "Invalid" });
  expect(status.message).toMatch(
    /spec\.validations\[0\]\.expression: .*compilation failed: ERROR: <input>:1:\d+: Syntax error: /s,
  );
  expect((await bad({ expression: "1 + 1" })).message).toContain("must evaluate to bool");
  expect((await bad({ expression: "nothing == 1" })).message).toContain("undeclared reference to 'nothing'");
});
