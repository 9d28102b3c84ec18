/** Kinds that are asked but never stored: reviews and bindings. The server computes their answers. */
import type { StatusCause } from "@kws/kube/status";
import { invalid, required } from "./cause.ts";
import type { ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";

const verbs: ResourceDefinition["verbs"] = ["create"];

export const binding: ResourceDefinition = define(
  { group: "", kind: "Binding", resource: "bindings" },
  {
    verbs,
    validate(object) {
      const { kind, name } = object["target"] ?? {};
      const causes: StatusCause[] = [];
      if (kind && kind !== "Node") causes.push(invalid("target.kind", kind, "must be empty, or 'Node'"));
      if (!name) causes.push(required("target.name"));
      return causes;
    },
  },
);

export const tokenReview: ResourceDefinition = define(
  { group: "authentication.k8s.io", kind: "TokenReview", resource: "tokenreviews", namespaced: false },
  { verbs, validate: (object) => (object["spec"]?.token ? [] : [required("spec.token")]) },
);

export const selfSubjectReview: ResourceDefinition = define(
  {
    group: "authentication.k8s.io",
    kind: "SelfSubjectReview",
    resource: "selfsubjectreviews",
    namespaced: false,
  },
  { verbs },
);

function validateAccess(spec: Record<string, unknown> | undefined): StatusCause[] {
  if (spec?.["resourceAttributes"] && spec["nonResourceAttributes"]) {
    return [
      invalid(
        "spec.nonResourceAttributes",
        spec["nonResourceAttributes"],
        "cannot be specified in combination with resourceAttributes",
      ),
    ];
  }
  return spec?.["resourceAttributes"] || spec?.["nonResourceAttributes"]
    ? []
    : [
        invalid(
          "spec.resourceAttributes",
          null,
          "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
      ];
}

const group = "authorization.k8s.io";

export const subjectAccessReview: ResourceDefinition = define(
  { group, kind: "SubjectAccessReview", resource: "subjectaccessreviews", namespaced: false },
  {
    verbs,
    validate(object) {
      const causes = validateAccess(object["spec"]);
      if (!object["spec"]?.user && !object["spec"]?.groups?.length) {
        causes.push(invalid("spec.user", "", "at least one of user or group must be specified"));
      }
      return causes;
    },
  },
);

export const localSubjectAccessReview: ResourceDefinition = define(
  { group, kind: "LocalSubjectAccessReview", resource: "localsubjectaccessreviews" },
  { verbs, validate: (object) => validateAccess(object["spec"]) },
);

export const selfSubjectAccessReview: ResourceDefinition = define(
  { group, kind: "SelfSubjectAccessReview", resource: "selfsubjectaccessreviews", namespaced: false },
  { verbs, validate: (object) => validateAccess(object["spec"]) },
);

export const selfSubjectRulesReview: ResourceDefinition = define(
  { group, kind: "SelfSubjectRulesReview", resource: "selfsubjectrulesreviews", namespaced: false },
  {
    verbs,
    validate: (object) =>
      object["spec"]?.namespace ? [] : [invalid("spec.namespace", "", "must be specified")],
  },
);

/** Not a resource of its own but the body of `serviceaccounts/token`; here so that its defaults stand with the others. */
export const tokenRequest: ResourceDefinition = define(
  { group: "authentication.k8s.io", kind: "TokenRequest", resource: "tokenrequests" },
  {
    verbs,
    setDefaults(object) {
      object["spec"] ??= {};
      object["spec"].expirationSeconds ??= 3600;
    },
    validate(object) {
      const seconds = Number(object["spec"]?.expirationSeconds);
      if (seconds < 600) {
        return [
          invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"),
        ];
      }
      return seconds > 2 ** 32
        ? [invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")]
        : [];
    },
  },
);
