/**
 * The shapes as OpenAPI, for `kubectl explain`, client-side validation and the check whether the server validates fields. What
 * https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition describes, without the parts that no
 * client reads. Descriptions are loaded with the first document.
 */
import { createHash } from "node:crypto";
import { formatApiVersion } from "@kws/kube/object";
import type { ResourceDefinition } from "../resources/resource.ts";
import { builtinVersion, shortName } from "./builtin.ts";
import type { Json } from "./json.ts";
import { pathsFor } from "./openapipaths.ts";
import type { TypeRegistry } from "./registry.ts";
import type { FieldSchema, ListSchema, ObjectSchema, TypeSchema } from "./types.ts";

type Descriptions = Record<string, Record<string, string>>;

let descriptions: Promise<Descriptions> | undefined;

function loadDescriptions(): Promise<Descriptions> {
  return (descriptions ??= import("./descriptions.generated.json", { with: { type: "json" } }).then(
    (module) => module.default.types as unknown as Descriptions,
  ));
}

const info = { title: "Kubernetes", version: `v${builtinVersion}` };

/** Scalars that OpenAPI refers to by name. */
const namedScalars = new Map<string, { name: string; schema: Json }>([
  ["quantity", { name: "io.k8s.apimachinery.pkg.api.resource.Quantity", schema: { type: "string" } }],
  [
    "int-or-string",
    {
      name: "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
      schema: { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] },
    },
  ],
  [
    "date-time",
    { name: "io.k8s.apimachinery.pkg.apis.meta.v1.Time", schema: { type: "string", format: "date-time" } },
  ],
  [
    "micro-time",
    {
      name: "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
      schema: { type: "string", format: "date-time" },
    },
  ],
]);

/** Collects what a document refers to. */
interface Writer {
  prefix: string;
  descriptions: Descriptions;
  schemas: Map<string, Json>;
}

/** `apps/v1` → `apis/apps/v1`; `v1` → `api/v1`. */
function pathOf(groupVersion: string): string {
  return groupVersion.includes("/") ? `apis/${groupVersion}` : `api/${groupVersion}`;
}

/** What `/openapi/v3` answers: every group version with an address that changes when its document does. */
export async function openapiV3Index(
  types: TypeRegistry,
  resources: ResourceDefinition[],
): Promise<{ paths: Record<string, { serverRelativeURL: string }> }> {
  const byVersion = Map.groupBy(resources, ({ group, version }) => formatApiVersion(group, version));
  const paths: Record<string, { serverRelativeURL: string }> = {};
  for (const [groupVersion, list] of [...byVersion].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const hash = createHash("sha256").update(builtinVersion);
    for (const resource of list) {
      const schema = types.get(resource);
      hash.update(
        JSON.stringify([resource.resource, resource.kind, resource.namespaced, schema?.source ?? ""]),
      );
      hash.update(JSON.stringify([resource.hasStatus, resource.scale, resource.verbs]));
    }
    const path = pathOf(groupVersion);
    const digest = hash.digest("hex").toUpperCase();
    paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${digest}` };
  }
  return { paths };
}

/** The document of one group version, such as `apps/v1`. */
export async function openapiV3(
  groupVersion: string,
  types: TypeRegistry,
  resources: ResourceDefinition[],
): Promise<Json> {
  const own = resources.filter(({ group, version }) => formatApiVersion(group, version) === groupVersion);
  const writer = {
    prefix: "#/components/schemas/",
    descriptions: await loadDescriptions(),
    schemas: new Map(),
  };
  const paths = writeResources(writer, types, own, "v3");
  for (const name of ["DeleteOptions", "Status"]) {
    const schema = types.get({ group: "", version: "v1", kind: name });
    if (schema !== undefined) reference(writer, schema);
  }
  return { openapi: "3.0.0", info, paths, components: { schemas: sortedSchemas(writer) } };
}

/** The one document of `/openapi/v2`. */
export async function openapiV2(types: TypeRegistry, resources: ResourceDefinition[]): Promise<Json> {
  const writer = { prefix: "#/definitions/", descriptions: await loadDescriptions(), schemas: new Map() };
  const paths = writeResources(writer, types, resources, "v2");
  return { swagger: "2.0", info, paths, definitions: sortedSchemas(writer) };
}

function sortedSchemas({ schemas }: Writer): Json {
  return Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function writeResources(
  writer: Writer,
  types: TypeRegistry,
  resources: ResourceDefinition[],
  version: "v2" | "v3",
): Json {
  const paths: Json = {};
  for (const resource of resources) {
    const { group, version: apiVersion, kind } = resource;
    const schema = types.get(resource);
    if (schema === undefined) continue;
    const ref =
      schema.structural === true ? customReference(writer, schema, resource) : reference(writer, schema);
    const name = ref.slice(writer.prefix.length);
    const target = writer.schemas.get(name);
    if (target !== undefined) {
      const kinds = (target["x-kubernetes-group-version-kind"] ??= []) as Json[];
      if (!kinds.some((known) => known["group"] === group && known["version"] === apiVersion)) {
        kinds.push({ group, kind, version: apiVersion });
      }
    }
    const list = types.get({ group, version: apiVersion, kind: `${kind}List` });
    const listRef = list === undefined ? ref : reference(writer, list);
    const of = (spoken: { group: string; version: string; kind: string }): string | undefined => {
      const shape = spoken.kind === kind ? undefined : types.get(spoken);
      return shape === undefined ? undefined : reference(writer, shape);
    };
    Object.assign(paths, pathsFor(resource, { own: ref, list: listRef, of }, version));
  }
  return paths;
}

/** `example.com` and `v1` → `com.example.v1.Widget`. */
function customReference(
  writer: Writer,
  schema: ObjectSchema,
  { group, version, kind }: ResourceDefinition,
): string {
  const name = `${group.split(".").reverse().join(".")}.${version}.${kind}`;
  const source = (schema.source ?? { type: "object" }) as Json & { properties?: Json };
  const head: Json = {};
  for (const key of ["apiVersion", "kind", "metadata"]) {
    const field = schema.fields.get(key);
    if (field !== undefined) head[key] = writeField(writer, field, documentation(writer, "core.v1.Pod", key));
  }
  writer.schemas.set(name, { ...source, type: "object", properties: { ...source.properties, ...head } });
  return `${writer.prefix}${name}`;
}

const headDescriptions: Record<string, string> = {
  apiVersion:
    "APIVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
  kind: "Kind is a string value representing the REST resource this object represents. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
};

function documentation(writer: Writer, type: string, field: string): string | undefined {
  const own = writer.descriptions[type]?.[field];
  return own === undefined || own === "" ? headDescriptions[field] : own;
}

/** The reference to a named shape, which is written the first time. */
function reference(writer: Writer, schema: ObjectSchema): string {
  const name = schema.name ?? "";
  if (!writer.schemas.has(name)) {
    const body: Json = {};
    writer.schemas.set(name, body);
    const short = shortName(name);
    Object.assign(body, writeObject(writer, schema, short));
    const description = writer.descriptions[short]?.[""];
    if (description !== undefined && description !== "") body["description"] = description;
  }
  return `${writer.prefix}${name}`;
}

function writeObject(writer: Writer, schema: ObjectSchema, type: string): Json {
  const properties: Json = {};
  const required: string[] = [];
  const inherited = new Map<string, string>();
  for (const { schema: inner } of schema.inlined ?? []) {
    for (const name of inner.fields.keys()) inherited.set(name, shortName(inner.name ?? ""));
  }
  for (const [name, field] of schema.fields) {
    const owner = inherited.get(name) ?? type;
    properties[name] = writeField(writer, field, field.description ?? documentation(writer, owner, name));
    if (field.required === true) required.push(name);
  }
  const body: Json = { type: "object", properties };
  if (required.length > 0) body["required"] = required;
  if (schema.atomic === true) body["x-kubernetes-map-type"] = "atomic";
  if (schema.open === true) body["x-kubernetes-preserve-unknown-fields"] = true;
  return body;
}

function writeField(writer: Writer, field: FieldSchema, description: string | undefined): Json {
  const body = writeType(writer, field.schema);
  const extra: Json = {};
  if (description !== undefined) extra["description"] = description;
  if (field.default !== undefined) extra["default"] = field.default;
  // A $ref has no siblings in OpenAPI 3.0.
  if ("$ref" in body && writer.prefix.startsWith("#/components") && Object.keys(extra).length > 0) {
    return { allOf: [body], ...extra };
  }
  return { ...body, ...extra };
}

function writeType(writer: Writer, schema: TypeSchema): Json {
  switch (schema.type) {
    case "object":
      if (schema.name === undefined) return writeObject(writer, schema, "");
      return { $ref: reference(writer, schema) };
    case "map":
      return {
        type: "object",
        additionalProperties: writeType(writer, schema.values),
        ...(schema.atomic === true ? { "x-kubernetes-map-type": "atomic" } : {}),
      };
    case "list":
      return writeList(writer, schema);
    case "any":
      return schema.wire === "raw" ? { type: "object" } : {};
    default: {
      const named = schema.format === undefined ? undefined : namedScalars.get(schema.format);
      if (named !== undefined) {
        writer.schemas.set(named.name, named.schema);
        return { $ref: `${writer.prefix}${named.name}` };
      }
      const format = schema.format === "duration" ? undefined : schema.format;
      return format === undefined ? { type: schema.type } : { type: schema.type, format };
    }
  }
}

function writeList(writer: Writer, schema: ListSchema): Json {
  const body: Json = {
    type: "array",
    items: writeType(writer, schema.items),
    "x-kubernetes-list-type": schema.listType,
  };
  if (schema.listMapKeys !== undefined) body["x-kubernetes-list-map-keys"] = schema.listMapKeys;
  if (schema.patchMergeKey !== undefined) body["x-kubernetes-patch-merge-key"] = schema.patchMergeKey;
  if (schema.patchStrategy !== undefined) body["x-kubernetes-patch-strategy"] = schema.patchStrategy;
  return body;
}
