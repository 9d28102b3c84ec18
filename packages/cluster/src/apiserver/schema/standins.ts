/** Local stand-ins until the OpenAPI part lands; never in the final state. */
import type { ResourceDefinition } from "../resources/resource.ts";
import type { TypeRegistry } from "./registry.ts";

export const openapiV2 = (_t: TypeRegistry, _r: ResourceDefinition[]): object => ({});
export const openapiV3Index = (_t: TypeRegistry, _r: ResourceDefinition[]): object => ({ paths: {} });
export const openapiV3 = (_g: string, _t: TypeRegistry, _r: ResourceDefinition[]): object => ({});
