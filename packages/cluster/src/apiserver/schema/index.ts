/** Shapes of kinds, and everything that follows from a shape: decoding, checking, merging, ownership, OpenAPI. */
export {
  type ApplyConflict,
  type ApplyRequest,
  type ApplyResult,
  conflictMessage,
  serverSideApply,
  trackUpdate,
  type UpdateRequest,
} from "./apply.ts";
export { builtinVersion } from "./builtin.ts";
export { SchemaError } from "./error.ts";
export { applyDefaults, checkFields, type FieldReport, normalize, prune } from "./fields.ts";
export { jsonPatch, mergePatch } from "./jsonpatch.ts";
export { openapiV2, openapiV3, openapiV3Index } from "./openapi.ts";
export { openapiV2Protobuf } from "./openapiproto.ts";
export { duplicateLines, type Parsed, parseObject } from "./parse.ts";
export { decodeProtobuf } from "./protobuf.ts";
export { builtinTypes, type TypeRegistry } from "./registry.ts";
export { strategicMergePatch } from "./strategic.ts";
export { structuralSchema } from "./structural.ts";
export { validateStructural } from "./validate.ts";
