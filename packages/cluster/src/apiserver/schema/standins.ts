/** Local stand-ins until the schema part lands; never in the final state. */
import type { KubeObject, ManagedFieldsEntry } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import type { ResourceDefinition } from "../resources/resource.ts";
import { mergePatch } from "./jsonpatch.ts";
import type { TypeRegistry } from "./registry.ts";
import type { ObjectSchema } from "./types.ts";

export const serverSideApply = (o: {
  schema: ObjectSchema; live?: KubeObject; applied: KubeObject; manager: string; force: boolean; apiVersion: string; subresource?: string; now: string;
}): { object: KubeObject; conflicts: { manager: string; field: string }[] } => ({
  object: o.live === undefined ? structuredClone(o.applied) : mergePatch(o.live, o.applied), conflicts: [],
});
export const trackUpdate = (o: {
  schema: ObjectSchema; before?: KubeObject; after: KubeObject; manager: string; apiVersion: string; subresource?: string; now: string;
}): ManagedFieldsEntry[] => o.after.metadata.managedFields ?? [];
export const structuralSchema = (_s: object): ObjectSchema => ({ type: "object", fields: new Map(), open: true });
export const validateStructural = (_s: ObjectSchema, _o: object, _v: object): StatusCause[] => [];
export const openapiV2 = (_t: TypeRegistry, _r: ResourceDefinition[]): object => ({});
export const openapiV3Index = (_t: TypeRegistry, _r: ResourceDefinition[]): object => ({ paths: {} });
export const openapiV3 = (_g: string, _t: TypeRegistry, _r: ResourceDefinition[]): object => ({});
