/** What holds a CustomResourceDefinition until its instances are gone; shared by deletion and `customresources.ts`. */
import type { KubeObject } from "@kws/kube/object";
import type { ServerContext } from "./context.ts";
import { tableOf } from "./registry.ts";
import { fromCustomResourceDefinition } from "./resources/index.ts";

export const definitionsTable = "customresourcedefinitions.apiextensions.k8s.io";
export const cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

/** A definition is held by this finalizer from its deletion on, for as long as it has instances. */
export function holdDefinition(context: ServerContext, crd: KubeObject): void {
  const definition = fromCustomResourceDefinition(crd)[0];
  if (definition === undefined || context.store.list(tableOf(definition)).length === 0) return;
  const finalizers = crd.metadata.finalizers ?? [];
  if (!finalizers.includes(cleanupFinalizer)) crd.metadata.finalizers = [...finalizers, cleanupFinalizer];
}
