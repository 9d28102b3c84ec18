/** Shapes by kind. Built-in shapes are made from the generated table when first asked for. */
import type { GroupVersionKind } from "@kws/kube/object";
import { builtinKinds, builtinType } from "./builtin.ts";
import type { ObjectSchema } from "./types.ts";

export interface TypeRegistry {
  get(gvk: GroupVersionKind): ObjectSchema | undefined;
  set(gvk: GroupVersionKind, schema: ObjectSchema): void;
  delete(gvk: GroupVersionKind): void;
  /** Makes every shape that has not been asked for yet. */
  entries(): Iterable<[GroupVersionKind, ObjectSchema]>;
}

/** Kinds of meta/v1 that stand in every group version (`metav1.AddToGroupVersion`). */
const everywhere = new Set([
  "APIGroup",
  "APIGroupList",
  "APIResourceList",
  "APIVersions",
  "CreateOptions",
  "DeleteOptions",
  "GetOptions",
  "ListOptions",
  "PatchOptions",
  "Status",
  "UpdateOptions",
  "WatchEvent",
]);

/** A registry of the built-in kinds, to which custom kinds may be added. */
export function builtinTypes(): TypeRegistry {
  const shapes = new Map<string, { gvk: GroupVersionKind; schema: ObjectSchema | string }>();
  for (const { gvk, type } of builtinKinds()) shapes.set(keyOf(gvk), { gvk, schema: type });
  const resolve = (entry: { schema: ObjectSchema | string } | undefined) => {
    if (entry === undefined) return undefined;
    if (typeof entry.schema === "string") entry.schema = builtinType(entry.schema);
    return entry.schema;
  };
  return {
    get(gvk) {
      const found = resolve(shapes.get(keyOf(gvk)));
      if (found !== undefined || !everywhere.has(gvk.kind)) return found;
      return builtinType(`meta.v1.${gvk.kind}`);
    },
    set(gvk, schema) {
      shapes.set(keyOf(gvk), { gvk, schema });
    },
    delete(gvk) {
      shapes.delete(keyOf(gvk));
    },
    *entries() {
      for (const entry of shapes.values()) {
        const schema = resolve(entry);
        if (schema !== undefined) yield [entry.gvk, schema];
      }
    },
  };
}

function keyOf({ group, version, kind }: GroupVersionKind): string {
  return `${group}/${version}/${kind}`;
}
