import { describe, expect, test } from "vitest";
import type { ResourceDefinition } from "../resources/resource.ts";
import { builtinTypes, openapiV2, openapiV3, openapiV3Index, structuralSchema } from "./index.ts";

const resource = (group: string, version: string, kind: string, plural: string): ResourceDefinition => ({
  group,
  version,
  kind,
  resource: plural,
  singular: kind.toLowerCase(),
  shortNames: [],
  categories: [],
  namespaced: true,
  hasStatus: true,
  columns: [],
  row: () => [],
});
const resources = [resource("", "v1", "Pod", "pods"), resource("apps", "v1", "Deployment", "deployments")];

type Doc = Record<string, unknown> & {
  paths: Record<string, Record<string, { parameters: { name: string }[] } & Record<string, unknown>>>;
  components: {
    schemas: Record<
      string,
      { properties: Record<string, Record<string, unknown>>; required?: string[] } & Record<string, unknown>
    >;
  };
  definitions: Doc["components"]["schemas"];
};

/** Every reference in a document, as paths of keys. */
function references(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, child]: [string, unknown]) =>
    key === "$ref" && typeof child === "string" ? [child] : references(child),
  );
}
function resolves(document: unknown, ref: string): boolean {
  let at: unknown = document;
  for (const key of ref.slice(2).split("/")) at = (at as Record<string, unknown> | undefined)?.[key];
  return at !== undefined;
}

describe("OpenAPI", () => {
  const types = builtinTypes();
  test("v3 of a group version documents its kinds, and every reference resolves", async () => {
    const document = (await openapiV3("apps/v1", types, resources)) as Doc;
    const deployment = document.components.schemas["io.k8s.api.apps.v1.Deployment"];
    expect(deployment?.["x-kubernetes-group-version-kind"]).toEqual([
      { group: "apps", kind: "Deployment", version: "v1" },
    ]);
    expect(deployment?.["description"]).toMatch(/^Deployment enables declarative updates/);
    const spec = document.components.schemas["io.k8s.api.core.v1.PodSpec"];
    expect(spec?.required).toEqual(["containers"]);
    expect(spec?.properties["containers"]).toMatchObject({
      type: "array",
      items: { $ref: "#/components/schemas/io.k8s.api.core.v1.Container" },
      "x-kubernetes-patch-merge-key": "name",
      "x-kubernetes-list-type": "map",
    });
    expect(
      document.components.schemas["io.k8s.api.core.v1.Volume"]?.properties["emptyDir"]?.["description"],
    ).toMatch(/temporary directory/);
    expect(references(document).filter((ref) => !resolves(document, ref))).toEqual([]);
  });
  test("a patch says that fields can be validated", async () => {
    const document = (await openapiV3("apps/v1", types, resources)) as Doc;
    const { patch } = document.paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"] ?? {};
    expect(patch?.parameters.map(({ name }) => name)).toContain("fieldValidation");
    expect(patch?.["x-kubernetes-group-version-kind"]).toEqual({
      group: "apps",
      version: "v1",
      kind: "Deployment",
    });
  });
  test("v2 is one document, and every reference resolves", async () => {
    const document = (await openapiV2(types, resources)) as Doc;
    expect(Object.keys(document.definitions)).toContain("io.k8s.api.core.v1.Pod");
    expect(references(document).filter((ref) => !resolves(document, ref))).toEqual([]);
  });
  test("the index's hash changes with a custom resource's schema", async () => {
    const widgets = resource("example.com", "v1", "Widget", "widgets");
    const hash = async (description: string) => {
      types.set(
        widgets,
        structuralSchema({ type: "object", description, properties: { spec: { type: "object" } } }),
      );
      return (await openapiV3Index(types, [...resources, widgets])).paths;
    };
    const before = await hash("one");
    const after = await hash("two");
    expect(Object.keys(before).toSorted()).toEqual(
      ["apis/apps/v1", "apis/example.com/v1", "api/v1"].toSorted(),
    );
    expect(before["apis/example.com/v1"]).not.toEqual(after["apis/example.com/v1"]);
    expect(before["apis/apps/v1"]).toEqual(after["apis/apps/v1"]);
    const document = (await openapiV3("example.com/v1", types, [widgets])) as Doc;
    expect(document.components.schemas["com.example.v1.Widget"]).toMatchObject({
      description: "two",
      properties: { spec: {}, metadata: {} },
    });
  });
});
