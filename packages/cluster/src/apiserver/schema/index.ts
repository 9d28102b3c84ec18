/** Shapes of kinds, and everything that follows from a shape: decoding, checking, merging, ownership, OpenAPI. */
export { builtinVersion } from "./builtin.ts";
export { SchemaError } from "./error.ts";
export { jsonPatch, mergePatch } from "./jsonpatch.ts";
export { decodeProtobuf } from "./protobuf.ts";
export { builtinTypes, type TypeRegistry } from "./registry.ts";
export { strategicMergePatch } from "./strategic.ts";
