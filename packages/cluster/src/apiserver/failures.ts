/** Refusals in upstream's own words (k8s.io/apimachinery `api/errors`): clients, and people, match on them. */
import { ApiError, apiError, type StatusCause } from "@kws/kube/status";
import { conflictMessage, type ApplyConflict } from "./schema/index.ts";

/** The part of a definition that messages name. */
export interface Named {
  group: string;
  resource: string;
  kind: string;
}

/** `deployments.apps`, `pods`: also the name of the table that holds the objects. */
export function qualified({ group, resource }: { group: string; resource: string }): string {
  return group === "" ? resource : `${resource}.${group}`;
}

function details({ group, resource }: Named, name: string): { name: string; group?: string; kind: string } {
  return { name, ...(group === "" ? {} : { group }), kind: resource };
}

export function notFound(definition: Named, name: string): ApiError {
  return apiError("NotFound", `${qualified(definition)} "${name}" not found`, details(definition, name));
}

export function alreadyExists(definition: Named, name: string): ApiError {
  return apiError(
    "AlreadyExists",
    `${qualified(definition)} "${name}" already exists`,
    details(definition, name),
  );
}

const modified =
  "the object has been modified; please apply your changes to the latest version and try again";

export function conflict(definition: Named, name: string, why = modified): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(definition)} "${name}": ${why}`;
  return apiError("Conflict", message, details(definition, name));
}

export function invalid(definition: Named, name: string, causes: StatusCause[]): ApiError {
  const kind = definition.group === "" ? definition.kind : `${definition.kind}.${definition.group}`;
  const texts = [
    ...new Set(causes.map(({ field, message }) => (field ? `${field}: ${message}` : (message ?? "")))),
  ];
  const text = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  const { group } = definition;
  return apiError("Invalid", `${kind} "${name}" is invalid: ${text}`, {
    name,
    ...(group === "" ? {} : { group }),
    kind: definition.kind,
    causes: causes.map((cause) => ({ reason: "FieldValueInvalid", ...cause })),
  });
}

export function forbidden(definition: Named, name: string, why: string): ApiError {
  const subject = name === "" ? qualified(definition) : `${qualified(definition)} "${name}"`;
  return apiError("Forbidden", `${subject} is forbidden: ${why}`, details(definition, name));
}

export function namespaceTerminating(definition: Named, name: string, namespace: string): ApiError {
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const error = forbidden(definition, name, why);
  const causes = [
    {
      reason: "NamespaceTerminating",
      message: `namespace ${namespace} is being terminated`,
      field: "metadata.namespace",
    },
  ];
  return new ApiError({ ...error.status, details: { ...error.status.details, causes } });
}

/** The answer where no such path, resource or version is served. */
export function noSuchPath(): ApiError {
  return apiError("NotFound", "the server could not find the requested resource", {});
}

export function methodNotAllowed(): ApiError {
  return apiError("MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

export function unsupportedMediaType(type: string, accepted: string[]): ApiError {
  const message =
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}` +
    (type === "" ? "" : ` (got ${type})`);
  return apiError("UnsupportedMediaType", message, {});
}

export function notAcceptable(): ApiError {
  return apiError("NotAcceptable", "only the following media types are accepted: application/json", {});
}

export function expired(message = "The resourceVersion for the provided list is too old."): ApiError {
  return apiError("Expired", message, {});
}

export function badRequest(message: string): ApiError {
  return apiError("BadRequest", message);
}

/** An ownership conflict of server-side apply. */
export function applyConflict(conflicts: ApplyConflict[]): ApiError {
  return apiError("Conflict", conflictMessage(conflicts), {
    causes: conflicts.map(({ message, field }) => ({ reason: "FieldManagerConflict", message, field })),
  });
}
