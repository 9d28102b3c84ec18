/** Refusals by admission, in the words of upstream's apiserver. */
import { apiError, type ApiError } from "@kws/kube/status";
import type { AdmissionContext } from "./context.ts";

export function refuse({ definition, object, old }: AdmissionContext, why: string): ApiError {
  const { group, resource } = definition;
  const name = object?.metadata.name ?? old?.metadata.name ?? "";
  const qualified = group === "" ? resource : `${resource}.${group}`;
  return apiError("Forbidden", `${qualified} "${name}" is forbidden: ${why}`, {
    name,
    ...(group === "" ? {} : { group }),
    kind: resource,
  });
}

export function isKind({ definition }: AdmissionContext, group: string, resource: string): boolean {
  return definition.group === group && definition.resource === resource;
}
