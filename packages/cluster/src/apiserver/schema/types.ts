/**
 * The shape of every kind as data: enough to read protobuf, to check fields, to merge lists by key, to track who owns which
 * field and to publish OpenAPI. Built-in shapes come from a generated table; those of custom resources from their
 * CustomResourceDefinition.
 */

/** One node of a shape. */
export type TypeSchema = ScalarSchema | ListSchema | MapSchema | ObjectSchema | AnySchema;

export interface ScalarSchema {
  type: "string" | "boolean" | "integer" | "number";
  /** `int32`, `int64`, `double`, `byte`, `date-time`, `micro-time`, `duration`, `int-or-string`, `quantity`. */
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
  /** In protobuf a message of its own, whose field 1 repeats. */
  wrapped?: boolean;
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
  /** The `openAPIV3Schema` that the shape was made from, for publishing. */
  source?: object;
  /** From a CustomResourceDefinition, whose own validation judges the types of values outside metadata. */
  structural?: boolean;
  /** Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`). */
  open?: boolean;
  /** The shape of fields that `fields` does not name (`additionalProperties` beside `properties`). */
  rest?: TypeSchema;
  /** Structs embedded in Go: on the wire messages of their own, in JSON fields of this object (they stand in `fields`). */
  inlined?: { number: number; schema: ObjectSchema }[];
  description?: string;
}

export interface FieldSchema {
  schema: TypeSchema;
  required?: boolean;
  description?: string;
  /** Field number in the protobuf message; absent for custom resources. */
  number?: number;
  default?: unknown;
  /** JSON leaves it out when it holds Go's zero value; structs are never left out. */
  omitEmpty?: boolean;
  /** A Go pointer: a zero value that was set stays. */
  pointer?: boolean;
  /** `null` is a value of its own (`nullable`); elsewhere null means absent. */
  nullable?: boolean;
}

/** Anything at all, such as a RawExtension. */
export interface AnySchema {
  type: "any";
  /** How protobuf carries it: JSON text in field 1, or a schema and its alternative (apiextensions/v1). */
  wire?: "raw" | "props-or-bool" | "props-or-array" | "props-or-strings";
  /** What `props-…` holds. */
  props?: () => ObjectSchema;
  /** Merged as a whole by server-side apply; otherwise objects inside merge field by field. */
  atomic?: boolean;
  description?: string;
}
