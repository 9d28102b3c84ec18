import { expect, test, vi } from "vitest";
import type { Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { refusal, serverFixture } from "./testing/fixture.ts";

const definitions: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  resource: "customresourcedefinitions",
  namespaced: false,
};

const api = serverFixture();

/** Defines a kind with that schema of its spec; answers how to create one with a spec, and how to replace it. */
async function define(spec: object, root: object = {}) {
  const kind = `Kind${api.namespace.replaceAll("-", "")}`;
  const plural = `${kind.toLowerCase()}s`;
  const group = "rules.example.com";
  const schema = { openAPIV3Schema: { type: "object", properties: { spec }, ...root } };
  await api.client.create(definitions, {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural },
      versions: [{ name: "v1", served: true, storage: true, schema }],
    },
  });
  const resource: Resource = { group, version: "v1", resource: plural, namespaced: true };
  await vi.waitFor(() => api.client.list(resource, api.namespace));
  const objectOf = (spec: object): KubeObject => ({
    apiVersion: `${group}/v1`,
    kind,
    metadata: { name: "one", namespace: api.namespace },
    spec,
  });
  return {
    create: (spec: object) => api.client.create(resource, objectOf(spec)),
    patch: (spec: object) => api.client.patch(resource, "one", api.namespace, "merge", { spec }),
  };
}

const integer = { type: "integer" };

test("a custom resource is refused where a rule of its schema is false, or cannot be evaluated", async () => {
  const { create } = await define({
    type: "object",
    properties: { x: integer, y: integer, list: { type: "array", maxItems: 100, items: integer } },
    "x-kubernetes-validations": [
      { rule: "self.x + self.y > 0" },
      {
        rule: "!has(self.list) || (self.list.isSorted() && self.list.sum() % 2 == 0)",
        message: "sorted, and even",
      },
    ],
  });
  expect((await refusal(create({ x: 0, y: 0 }))).message).toContain(
    'spec: Invalid value: "object": failed rule: self.x + self.y > 0',
  );
  expect((await refusal(create({ x: 1, y: 0, list: [2, 1] }))).message).toContain("sorted, and even");
  expect((await refusal(create({ x: 1 }))).message).toContain("no such key: y evaluating rule");
  await create({ x: 1, y: 0, list: [3, 5] });
});

test("rules see values by the types of the schema, and fields by names that can be written", async () => {
  const { create } = await define({
    type: "object",
    properties: {
      ratio: { type: "number" },
      until: { type: "string", format: "date-time" },
      "max-size": { type: "string" },
      namespace: { type: "string" },
      limits: { type: "object", additionalProperties: { type: "object", properties: { cpu: integer } } },
    },
    "x-kubernetes-validations": [
      { rule: "self.ratio * 2.0 <= 3.0" },
      { rule: "self.until > timestamp('2020-01-01T00:00:00Z')" },
      { rule: "quantity(self.max__dash__size).isLessThan(quantity('2Gi'))" },
      { rule: "self.__namespace__ == 'n' && self.limits.all(key, self.limits[key].cpu < 4)" },
    ],
  });
  const good = {
    ratio: 1,
    until: "2026-01-01T00:00:00Z",
    "max-size": "1Gi",
    namespace: "n",
    limits: { a: { cpu: 2 } },
  };
  expect((await refusal(create({ ...good, limits: { b: { cpu: 9 } } }))).message).toContain("failed rule");
  expect((await refusal(create({ ...good, "max-size": "3Gi" }))).message).toContain("failed rule");
  await create(good);
});

test("a rule about the old value holds for updates alone, and for items of the same key", async () => {
  const items = {
    type: "object",
    required: ["name"],
    properties: {
      name: { type: "string" },
      size: { ...integer, "x-kubernetes-validations": [{ rule: "self >= oldSelf" }] },
    },
  };
  const { create, patch } = await define({
    type: "object",
    properties: {
      num: {
        ...integer,
        "x-kubernetes-validations": [
          { rule: "self > oldSelf", messageExpression: "'more than ' + string(oldSelf)" },
        ],
      },
      disks: {
        type: "array",
        items,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
      },
    },
  });
  await create({ num: 10, disks: [{ name: "a", size: 5 }] });
  const { status } = await refusal(patch({ num: 9 }));
  expect(status.details?.causes).toMatchObject([
    { field: "spec.num", message: 'Invalid value: "integer": more than 10' },
  ]);
  expect(
    (
      await refusal(
        patch({
          num: 11,
          disks: [
            { name: "b", size: 1 },
            { name: "a", size: 4 },
          ],
        }),
      )
    ).message,
  ).toContain("spec.disks[1].size");
  await patch({
    num: 11,
    disks: [
      { name: "b", size: 1 },
      { name: "a", size: 5 },
    ],
  });
});

test("a definition whose rules cannot be compiled is refused, with the place", async () => {
  const refused = async (rule: string): Promise<string> =>
    (
      await refusal(
        define({ type: "object", properties: { x: integer }, "x-kubernetes-validations": [{ rule }] }),
      )
    ).message;
  expect(await refused("self.z == 100")).toMatch(
    /spec\.versions\[0\]\.schema\.openAPIV3Schema\.properties\[spec\]\.x-kubernetes-validations\[0\]\.rule: .*undefined field 'z'/,
  );
  expect(await refused("self = 42")).toContain("Syntax error");
  expect(await refused("self.x > 'a'")).toContain(
    "found no matching overload for '_>_' applied to '(int, string)'",
  );
  expect(await refused("self.x + 1")).toContain("must evaluate to bool");
});

test("rules of the whole object see its name", async () => {
  const { create } = await define(
    { type: "object", properties: { x: integer } },
    { "x-kubernetes-validations": [{ rule: "self.metadata.name == 'one' && self.spec.x > 1" }] },
  );
  expect((await refusal(create({ x: 1 }))).message).toContain("failed rule");
  await create({ x: 2 });
});
