/**
 * How objects are shown: as they are, as `PartialObjectMetadata`, or as a `Table`, as the `Accept` header asks.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
 */
import type { KubeObject } from "@kws/kube/object";
import type { Stored } from "../storage/stored.ts";
import { badRequest, notAcceptable } from "./failures.ts";
import { apiVersionOf, inVersion } from "./registry.ts";
import type { ApiRequest } from "./request.ts";
import type { ResourceDefinition } from "./resources/resource.ts";

export interface MediaType {
  type: string;
  parameters: Map<string, string>;
}

export function parseAccept(header: string | undefined): MediaType[] {
  return (header ?? "*/*").split(",").map((part) => {
    const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim());
    return {
      type: type.toLowerCase(),
      parameters: new Map(parameters.map((one) => [one.split("=")[0] ?? "", one.split("=")[1] ?? ""])),
    };
  });
}

export function isJson({ type }: MediaType): boolean {
  return type === "application/json" || type === "*/*" || type === "application/*" || type === "";
}

/** The representation of one request's objects: as JSON text, alone and in lists. */
export interface Rendering {
  /** Kind and apiVersion of a list's own envelope are in `list`; one object alone is in `object`. */
  object(stored: Stored): string;
  list(items: Stored[], metadata: ListMetadata): string;
  /** A watch's bookmark, where it is not the bare object. */
  bookmark?(object: { kind: string; apiVersion: string; metadata: { resourceVersion: string } }): string;
  /** Requests with the same name here get the same text, which may be kept; absent where it depends on the time. */
  shared?: string;
}

export interface ListMetadata {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

/** Throws `NotAcceptable` where nothing that the client accepts can be given. */
export function renderingOf(
  request: ApiRequest,
  definition: ResourceDefinition,
  now: () => number,
): Rendering {
  for (const media of parseAccept(request.headers.accept)) {
    if (!isJson(media)) continue;
    const as = media.parameters.get("as");
    if (as === undefined) return plain(definition);
    if (media.parameters.get("g") !== "meta.k8s.io") continue;
    const version = media.parameters.get("v") ?? "v1";
    if (version !== "v1" && version !== "v1beta1") continue;
    if (as === "Table") return table(definition, includeObject(request), version, now);
    if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList") return partial(version);
  }
  throw notAcceptable();
}

/** The stored JSON in the version of the definition. */
export function jsonIn(definition: ResourceDefinition, stored: Stored): string {
  const object = inVersion(definition, stored.object);
  return object === stored.object ? stored.json : JSON.stringify(object);
}

function plain(definition: ResourceDefinition): Rendering {
  const head = JSON.stringify({ kind: `${definition.kind}List`, apiVersion: apiVersionOf(definition) }).slice(
    0,
    -1,
  );
  return {
    shared: apiVersionOf(definition),
    object: (stored) => jsonIn(definition, stored),
    list: (items, metadata) =>
      `${head},"metadata":${JSON.stringify(metadata)},"items":[${items.map((item) => jsonIn(definition, item)).join(",")}]}`,
  };
}

function partial(version: string): Rendering {
  const apiVersion = `meta.k8s.io/${version}`;
  const of = ({ object }: Stored) => ({
    kind: "PartialObjectMetadata",
    apiVersion,
    metadata: object.metadata,
  });
  return {
    shared: `partial ${version}`,
    object: (stored) => JSON.stringify(of(stored)),
    bookmark: ({ metadata }) => JSON.stringify({ kind: "PartialObjectMetadata", apiVersion, metadata }),
    list: (items, metadata) =>
      JSON.stringify({ kind: "PartialObjectMetadataList", apiVersion, metadata, items: items.map(of) }),
  };
}

type IncludeObject = "None" | "Metadata" | "Object";

function includeObject(request: ApiRequest): IncludeObject {
  const value = request.query.get("includeObject") || "Metadata";
  if (value === "None" || value === "Metadata" || value === "Object") return value;
  throw badRequest(`unrecognized includeObject value: "${value}"`);
}

function table(
  definition: ResourceDefinition,
  include: IncludeObject,
  version: string,
  now: () => number,
): Rendering {
  const apiVersion = `meta.k8s.io/${version}`;
  const columnDefinitions = definition.columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? (column.name === "Name" ? "name" : ""),
    description: column.description,
    priority: column.priority,
  }));
  const rowOf = (stored: Stored) => {
    const object = inVersion(definition, stored.object);
    return {
      cells: definition.row(object, now()),
      ...(include === "None" ? {} : { object: include === "Object" ? object : metadataOf(object) }),
    };
  };
  const of = (items: Stored[], metadata: object) =>
    JSON.stringify({ kind: "Table", apiVersion, metadata, columnDefinitions, rows: items.map(rowOf) });
  return {
    object: (stored) => of([stored], { resourceVersion: stored.object.metadata.resourceVersion }),
    list: of,
    // A row carries the annotation that ends the initial events, as upstream's does.
    bookmark: (object) =>
      JSON.stringify({
        kind: "Table",
        apiVersion,
        metadata: { resourceVersion: object.metadata.resourceVersion },
        columnDefinitions,
        rows: include === "None" ? [] : [{ cells: [], object }],
      }),
  };
  function metadataOf(object: KubeObject): object {
    return { kind: "PartialObjectMetadata", apiVersion, metadata: object.metadata };
  }
}
