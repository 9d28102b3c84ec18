/** The paths of a resource in OpenAPI: which requests exist, on which kind, with which query parameters. */
import type { ResourceDefinition, Verb } from "../resources/resource.ts";
import { subresourcesOf } from "../subresources.ts";
import type { Json } from "./json.ts";

/** How HTTP methods are called in `x-kubernetes-action`. */
interface Operation {
  method: "get" | "post" | "put" | "patch" | "delete";
  action: string;
  verb: Verb;
}

const onCollection: Operation[] = [
  { method: "get", action: "list", verb: "list" },
  { method: "post", action: "post", verb: "create" },
  { method: "delete", action: "deletecollection", verb: "deletecollection" },
];
const onObject: Operation[] = [
  { method: "get", action: "get", verb: "get" },
  { method: "put", action: "put", verb: "update" },
  { method: "patch", action: "patch", verb: "patch" },
  { method: "delete", action: "delete", verb: "delete" },
];

const onSubresource: Operation[] = [{ method: "post", action: "post", verb: "create" }, ...onObject];

const listQuery = [
  "allowWatchBookmarks:boolean",
  "continue:string",
  "fieldSelector:string",
  "labelSelector:string",
  "limit:integer",
  "resourceVersion:string",
  "resourceVersionMatch:string",
  "sendInitialEvents:boolean",
  "timeoutSeconds:integer",
  "watch:boolean",
];
const writeQuery = ["dryRun:string", "fieldManager:string", "fieldValidation:string"];
const deleteQuery = [
  "dryRun:string",
  "gracePeriodSeconds:integer",
  "orphanDependents:boolean",
  "propagationPolicy:string",
];

const queries: Record<string, string[]> = {
  list: listQuery,
  get: [],
  post: writeQuery,
  put: writeQuery,
  patch: [...writeQuery, "force:boolean"],
  delete: deleteQuery,
  deletecollection: [...listQuery, ...deleteQuery],
};

const patchTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];

/** The shapes that a resource's requests and answers have. */
export interface Shapes {
  own: string;
  list: string;
  /** Of a kind that a subresource speaks; undefined where there is none, as for streams. */
  of(kind: { group: string; version: string; kind: string }): string | undefined;
}

export function pathsFor(resource: ResourceDefinition, shapes: Shapes, version: "v2" | "v3"): Json {
  const { own: ref, list: listRef } = shapes;
  const { group, version: apiVersion, namespaced } = resource;
  const root = group === "" ? `/api/${apiVersion}` : `/apis/${group}/${apiVersion}`;
  const base = namespaced
    ? `${root}/namespaces/{namespace}/${resource.resource}`
    : `${root}/${resource.resource}`;
  const item = `${base}/{name}`;
  const inNamespace = namespaced ? ["namespace"] : [];
  const write = (operations: Operation[], shape: string, parameters: string[]) =>
    writeItem(resource, operations, shape, parameters, ref, version);
  const paths: Json = {
    [base]: write(onCollection, listRef, inNamespace),
    [item]: write(onObject, ref, ["name", ...inNamespace]),
  };
  if (namespaced) paths[`${root}/${resource.resource}`] = write(onCollection.slice(0, 1), listRef, []);
  for (const one of subresourcesOf(resource)) {
    const kind = { group: one.group ?? group, version: one.version ?? apiVersion, kind: one.kind };
    const operations = onSubresource.filter(({ verb }) => one.verbs.includes(verb));
    const shape = shapes.of(kind) ?? ref;
    const spoken = { ...resource, ...kind, verbs: undefined };
    paths[`${item}/${one.name}`] = writeItem(
      spoken,
      operations,
      shape,
      ["name", ...inNamespace],
      shape,
      version,
      `${resource.kind}${one.name.charAt(0).toUpperCase()}${one.name.slice(1)}`,
    );
  }
  return Object.fromEntries(Object.entries(paths).filter(([, path]) => Object.keys(path as Json).length > 1));
}

function writeItem(
  resource: ResourceDefinition,
  operations: Operation[],
  shape: string,
  names: string[],
  ref: string,
  version: "v2" | "v3",
  subject: string = resource.kind,
): Json {
  const { group, version: apiVersion, kind, verbs } = resource;
  const typed = (name: string, place: "path" | "query", type: string): Json => {
    const required = place === "path" ? { required: true } : {};
    if (version === "v2") return { name, in: place, ...required, type, uniqueItems: true };
    return { name, in: place, ...required, schema: { type, uniqueItems: true } };
  };
  const body: Json = { parameters: names.map((name) => typed(name, "path", "string")) };
  for (const { method, action, verb } of operations) {
    if (verbs !== undefined && !verbs.includes(verb)) continue;
    const query = (queries[action] ?? []).map((parameter) => {
      const [name = "", type = ""] = parameter.split(":");
      return typed(name, "query", type);
    });
    const answer = action === "list" ? shape : ref;
    const operation: Json = {
      operationId: operationId(resource, subject, action, names, shape !== ref),
      parameters: query,
      responses: { "200": { description: "OK", ...content(answer, version) } },
      "x-kubernetes-action": action,
      "x-kubernetes-group-version-kind": { group, version: apiVersion, kind },
    };
    if (action === "post" || action === "put" || action === "patch") {
      const schema = action === "patch" ? { type: "object" } : { $ref: ref };
      const accepted = action === "patch" ? patchTypes : ["application/json", "application/yaml"];
      if (version === "v2") {
        operation["consumes"] = accepted;
        query.push({ name: "body", in: "body", required: true, schema });
      } else {
        operation["requestBody"] = {
          required: true,
          content: Object.fromEntries(accepted.map((type) => [type, { schema }])),
        };
      }
    }
    body[method] = operation;
  }
  return body;
}

function content(ref: string, version: "v2" | "v3"): Json {
  if (version === "v2") return { schema: { $ref: ref } };
  return { content: { "application/json": { schema: { $ref: ref } } } };
}

function operationId(
  resource: ResourceDefinition,
  subject: string,
  action: string,
  names: string[],
  collection: boolean,
): string {
  const group = (resource.group.split(".")[0] ?? "") || "core";
  const title = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  const scope = names.includes("namespace") ? "Namespaced" : "";
  const all = collection && resource.namespaced && scope === "" ? "ForAllNamespaces" : "";
  return `${action}${title(group)}${title(resource.version)}${scope}${subject}${all}`;
}
