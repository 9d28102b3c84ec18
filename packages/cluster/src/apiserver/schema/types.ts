/**
 * The shape of every kind as data: enough to read protobuf, to check fields, to merge lists by key, to track who owns which
 * field and to publish OpenAPI. Built-in shapes come from a generated table; those of custom resources from their
 * CustomResourceDefinition.
 */

/** One node of a shape. */
export type TypeSchema = ScalarSchema | ListSchema | MapSchema | ObjectSchema | AnySchema;

export interface ScalarSchema {
  type: "string" | "boolean" | "integer" | "number";
  /** `int32`, `int64`, `double`, `byte`, `date-time`, `int-or-string`, `quantity`. */
  format?: string;
  description?: string;
}

export interface ListSchema {
  type: "list";
  items: TypeSchema;
  /** As `x-kubernetes-list-type`: how server-side apply merges it. */
  listType: "atomic" | "set" | "map";
  listMapKeys?: string[];
  /** For strategic merge patches; absent means replace. */
  patchMergeKey?: string;
  patchStrategy?: string;
  description?: string;
}

export interface MapSchema {
  type: "map";
  values: TypeSchema;
  atomic?: boolean;
  description?: string;
}

export interface ObjectSchema {
  type: "object";
  /** Set for shapes that OpenAPI refers to by name, such as `io.k8s.api.core.v1.PodSpec`. */
  name?: string;
  fields: ReadonlyMap<string, FieldSchema>;
  /** Merged as a whole by server-side apply. */
  atomic?: boolean;
  /** Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`). */
  open?: boolean;
  description?: string;
}

export interface FieldSchema {
  schema: TypeSchema;
  required?: boolean;
  description?: string;
  /** Field number in the protobuf message; absent for custom resources. */
  number?: number;
  default?: unknown;
}

/** Anything at all, such as a RawExtension. */
export interface AnySchema {
  type: "any";
  description?: string;
}
