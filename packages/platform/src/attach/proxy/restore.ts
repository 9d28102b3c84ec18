/**
 * Giving a Service back, as JSON patches. Done by whoever ends an intercept: its session, another kws, or the proxy itself once
 * nobody has been there for long. All that is needed stands on the Service.
 */

/** On a Service: who intercepts it, as JSON. */
export const markAnnotation = "kws.dev/intercept";
/** On a Service: the selector that it had, as JSON. */
export const selectorAnnotation = "kws.dev/intercept-selector";
/** The label of the proxy's pods, and the key of the selector that leads to them. */
export const proxyLabel = "kws.dev/intercept-proxy";

export interface ServiceObject {
  metadata: { annotations?: Record<string, string>; resourceVersion?: string; managedFields?: unknown[] };
  spec?: { selector?: Record<string, string> };
}

export interface PatchOperation {
  op: "test" | "add" | "replace" | "remove";
  path: string;
  value?: unknown;
}

const annotation = (key: string) => `/metadata/annotations/${key.replaceAll("/", "~1")}`;

/** Undefined where the Service is not intercepted. Somebody who installed it anew may have given it back already. */
export function restorePatch({ metadata, spec }: ServiceObject): PatchOperation[] | undefined {
  const { annotations = {}, resourceVersion } = metadata;
  const [mark, before] = [annotations[markAnnotation], annotations[selectorAnnotation]];
  if (mark === undefined) return undefined;
  const taken = spec?.selector?.[proxyLabel] !== undefined && before !== undefined;
  return [
    { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
    { op: "remove", path: annotation(markAnnotation) },
    ...(before === undefined ? [] : [{ op: "remove" as const, path: annotation(selectorAnnotation) }]),
    ...(taken
      ? [{ op: "replace" as const, path: "/spec/selector", value: JSON.parse(before) as unknown }]
      : []),
  ];
}

/**
 * The second write of each change: the fields belong to those again to whom they belonged before it, so that Helm's next apply
 * meets no conflict.
 */
export function ownersPatch(before: ServiceObject, changed: ServiceObject): PatchOperation[] {
  return [
    { op: "test", path: "/metadata/resourceVersion", value: changed.metadata.resourceVersion },
    { op: "replace", path: "/metadata/managedFields", value: before.metadata.managedFields ?? [] },
  ];
}
