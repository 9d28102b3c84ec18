/** Whether a user may do something: the question, who answers it, and the refusal. */
import { apiError, type ApiError } from "@kws/kube/status";
import { qualified } from "./failures.ts";
import type { User } from "./request.ts";

export interface ResourceAttributes {
  verb: string;
  group: string;
  version?: string;
  resource: string;
  subresource?: string;
  /** Undefined or empty: cluster scope, or all namespaces. */
  namespace?: string;
  name?: string;
}

export interface PathAttributes {
  verb: string;
  path: string;
}

export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

export interface Decision {
  allowed: boolean;
  /** For people: which binding allows it. */
  reason: string;
}

export interface Authorizer {
  authorize(user: User, attributes: ResourceAttributes | PathAttributes): Decision;
  /** What the user may do in a namespace. */
  rules(user: User, namespace: string): PolicyRule[];
}

export function isPathAttributes(
  attributes: ResourceAttributes | PathAttributes,
): attributes is PathAttributes {
  return "path" in attributes;
}

/** The refusal in upstream's words. */
export function refusal(user: User, attributes: ResourceAttributes | PathAttributes): ApiError {
  if (isPathAttributes(attributes)) {
    const text = `forbidden: User "${user.name}" cannot ${attributes.verb} path "${attributes.path}"`;
    return apiError("Forbidden", text, {});
  }
  const { verb, group, resource, subresource, namespace, name } = attributes;
  const subject = qualified({ group, resource });
  const named = name === undefined || name === "" ? subject : `${subject} "${name}"`;
  const what = subresource === undefined || subresource === "" ? resource : `${resource}/${subresource}`;
  const where =
    namespace === undefined || namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`;
  return apiError(
    "Forbidden",
    `${named} is forbidden: User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`,
    {
      ...(name === undefined || name === "" ? {} : { name }),
      ...(group === "" ? {} : { group }),
      kind: resource,
    },
  );
}
