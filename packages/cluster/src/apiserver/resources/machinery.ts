/** Kinds by which the API is extended and guarded: CustomResourceDefinitions, APIServices, webhooks, policies, CSRs. */
import { immutable, invalid, oneOf, required } from "./cause.ts";
import { checkPolicyExpressions, checkSchemaRules, checkWebhookConditions } from "./expressions.ts";
import { list } from "./loose.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn, humanDuration } from "./table.ts";

export const customResourceDefinition: ResourceDefinition = define(
  {
    group: "apiextensions.k8s.io",
    kind: "CustomResourceDefinition",
    resource: "customresourcedefinitions",
    namespaced: false,
  },
  {
    shortNames: ["crd", "crds"],
    categories: ["api-extensions"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.conversion ??= { strategy: "None" };
      const { service } = spec.conversion.webhook?.clientConfig ?? {};
      if (service) service.port ??= 443;
      spec.names ??= {};
      spec.names.singular ||= String(spec.names.kind ?? "").toLowerCase();
      if (!spec.names.listKind && spec.names.kind) spec.names.listKind = `${spec.names.kind}List`;
    },
    prepareForCreate(object) {
      object["status"] = {
        conditions: [],
        acceptedNames: { plural: "", kind: "" },
        storedVersions: storedVersions(object["spec"]),
      };
    },
    prepareForUpdate(object, old) {
      object["status"] = { ...old["status"] };
      const kept: string[] = old["status"]?.storedVersions ?? [];
      object["status"].storedVersions = [...new Set([...kept, ...storedVersions(object["spec"])])];
    },
    checkExpressions: checkSchemaRules,
    validate(object, old) {
      const spec: Fields = object["spec"] ?? {};
      const names: Fields = spec["names"] ?? {};
      const versions = list(spec["versions"]);
      const causes = oneOf("spec.scope", spec["scope"], ["Cluster", "Namespaced"]);
      if (!spec["group"]) causes.push(required("spec.group"));
      else if (!String(spec["group"]).includes(".")) {
        causes.push(invalid("spec.group", spec["group"], "should be a domain with at least one dot"));
      }
      for (const field of ["plural", "singular", "kind", "listKind"]) {
        if (!names[field]) causes.push(required(`spec.names.${field}`));
      }
      const wanted = `${names["plural"]}.${spec["group"]}`;
      if (object.metadata.name !== wanted) {
        causes.push(
          invalid("metadata.name", object.metadata.name, `must be spec.names.plural+"."+spec.group`),
        );
      }
      const { strategy, webhook } = spec["conversion"] ?? {};
      causes.push(...oneOf("spec.conversion.strategy", strategy, ["None", "Webhook"]));
      if (strategy === "Webhook") {
        const { url, service } = webhook?.clientConfig ?? {};
        if (!url === !service) {
          const detail = "exactly one of url or service is required";
          causes.push(required("spec.conversion.webhook.clientConfig", detail));
        }
        if (!webhook?.conversionReviewVersions?.length)
          causes.push(required("spec.conversion.webhook.conversionReviewVersions"));
      }
      if (versions.length === 0)
        causes.push(required("spec.versions", "must have exactly one version marked as storage version"));
      else if (versions.filter(({ storage }) => storage === true).length !== 1) {
        causes.push(
          invalid("spec.versions", null, "must have exactly one version marked as storage version"),
        );
      }
      for (const [index, version] of versions.entries()) {
        if (!version["schema"]?.openAPIV3Schema) {
          causes.push(required(`spec.versions[${index}].schema.openAPIV3Schema`, "schemas are required"));
        }
      }
      if (old === undefined) return causes;
      const before: Fields = old["spec"] ?? {};
      return [
        ...causes,
        ...immutable("spec.group", spec["group"], before["group"]),
        ...immutable("spec.names.plural", names["plural"], before["names"]?.plural),
        ...immutable("spec.names.kind", names["kind"], before["names"]?.kind),
        ...immutable("spec.scope", spec["scope"], before["scope"]),
      ];
    },
  },
);

function storedVersions(spec: Fields | undefined): string[] {
  return list(spec?.["versions"]).flatMap(({ name, storage }) => (storage === true ? [String(name)] : []));
}

export const apiService: ResourceDefinition = define(
  { group: "apiregistration.k8s.io", kind: "APIService", resource: "apiservices", namespaced: false },
  {
    categories: ["api-extensions"],
    hasStatus: true,
    setDefaults(object) {
      if (object["spec"]?.service) object["spec"].service.port ??= 443;
    },
    validate(object) {
      const { group = "", version = "" } = object["spec"] ?? {};
      return object.metadata.name === `${version}.${group}`
        ? []
        : [invalid("metadata.name", object.metadata.name, 'must be `spec.version+"."+spec.group`')];
    },
    columns: [
      nameColumn,
      column("Service", "The Service that serves this group and version, or Local."),
      column("Available", "Whether it does."),
      ageColumn,
    ],
    row(object, now) {
      const target = object["spec"]?.service;
      const available = list(object["status"]?.conditions).find(({ type }) => type === "Available");
      const status = String(available?.["status"] ?? "Unknown");
      return [
        object.metadata.name,
        target ? `${target.namespace}/${target.name}` : "Local",
        status === "True" || !available ? status : `${status} (${available["reason"]})`,
        age(object, now),
      ];
    },
  },
);

function setWebhookDefaults(object: Fields, mutating: boolean): void {
  for (const webhook of list(object["webhooks"])) {
    webhook["failurePolicy"] ??= "Fail";
    webhook["matchPolicy"] ??= "Equivalent";
    webhook["namespaceSelector"] ??= {};
    webhook["objectSelector"] ??= {};
    webhook["timeoutSeconds"] ??= 10;
    if (mutating) webhook["reinvocationPolicy"] ??= "Never";
    if (webhook["clientConfig"]?.service) webhook["clientConfig"].service.port ??= 443;
    for (const rule of list(webhook["rules"])) rule["scope"] ??= "*";
  }
}

function validateWebhooks(object: Fields) {
  return list(object["webhooks"]).flatMap((webhook, index) => {
    const path = `webhooks[${index}]`;
    const causes =
      String(webhook["name"] ?? "").split(".").length >= 3
        ? []
        : [
            invalid(
              `${path}.name`,
              webhook["name"] ?? "",
              "should be a domain with at least three segments separated by dots",
            ),
          ];
    if (!webhook["admissionReviewVersions"]?.length) {
      causes.push(required(`${path}.admissionReviewVersions`, "must specify one of v1, v1beta1"));
    }
    const effects = ["None", "NoneOnDryRun"];
    causes.push(...oneOf(`${path}.sideEffects`, webhook["sideEffects"], effects));
    causes.push(...oneOf(`${path}.failurePolicy`, webhook["failurePolicy"], ["Fail", "Ignore"]));
    const { url, service } = (webhook["clientConfig"] ?? {}) as Fields;
    if (!url === !service) {
      causes.push(required(`${path}.clientConfig`, "exactly one of url or service is required"));
    } else if (url && !URL.parse(String(url))?.protocol.startsWith("https:")) {
      causes.push(invalid(`${path}.clientConfig.url`, url, "'https' is the only allowed URL scheme"));
    }
    const seconds = Number(webhook["timeoutSeconds"]);
    if (!(seconds >= 1 && seconds <= 30)) {
      const detail = "the timeout value must be between 1 and 30 seconds";
      causes.push(invalid(`${path}.timeoutSeconds`, webhook["timeoutSeconds"], detail));
    }
    return causes;
  });
}

const admissionGroup = "admissionregistration.k8s.io";
const webhooksColumn = column("Webhooks", "Number of webhooks.", { type: "integer" });

export const mutatingWebhookConfiguration: ResourceDefinition = define(
  {
    group: admissionGroup,
    kind: "MutatingWebhookConfiguration",
    resource: "mutatingwebhookconfigurations",
    namespaced: false,
  },
  {
    categories: ["api-extensions"],
    setDefaults: (object) => setWebhookDefaults(object, true),
    validate: validateWebhooks,
    checkExpressions: checkWebhookConditions,
    columns: [nameColumn, webhooksColumn, ageColumn],
    row: (object, now) => [object.metadata.name, list(object["webhooks"]).length, age(object, now)],
  },
);

export const validatingWebhookConfiguration: ResourceDefinition = define(
  {
    group: admissionGroup,
    kind: "ValidatingWebhookConfiguration",
    resource: "validatingwebhookconfigurations",
    namespaced: false,
  },
  {
    categories: ["api-extensions"],
    setDefaults: (object) => setWebhookDefaults(object, false),
    validate: validateWebhooks,
    checkExpressions: checkWebhookConditions,
    columns: [nameColumn, webhooksColumn, ageColumn],
    row: (object, now) => [object.metadata.name, list(object["webhooks"]).length, age(object, now)],
  },
);

function setMatchDefaults(match: Fields | undefined | null): void {
  if (!match) return;
  match["matchPolicy"] ??= "Equivalent";
  match["namespaceSelector"] ??= {};
  match["objectSelector"] ??= {};
  for (const rule of [...list(match["resourceRules"]), ...list(match["excludeResourceRules"])])
    rule["scope"] ??= "*";
}

export const validatingAdmissionPolicy: ResourceDefinition = define(
  {
    group: admissionGroup,
    kind: "ValidatingAdmissionPolicy",
    resource: "validatingadmissionpolicies",
    namespaced: false,
  },
  {
    categories: ["api-extensions"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.failurePolicy ??= "Fail";
      setMatchDefaults(spec.matchConstraints);
    },
    checkExpressions: checkPolicyExpressions,
    columns: [
      nameColumn,
      column("Validations", "Number of validations.", { type: "integer" }),
      column("ParamKind", "The kind of its parameters."),
      ageColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const kind = spec["paramKind"]
        ? `${spec["paramKind"].apiVersion}/${spec["paramKind"].kind}`
        : "<unset>";
      return [object.metadata.name, list(spec["validations"]).length, kind, age(object, now)];
    },
  },
);

export const validatingAdmissionPolicyBinding: ResourceDefinition = define(
  {
    group: admissionGroup,
    kind: "ValidatingAdmissionPolicyBinding",
    resource: "validatingadmissionpolicybindings",
    namespaced: false,
  },
  {
    categories: ["api-extensions"],
    setDefaults: (object) => setMatchDefaults(object["spec"]?.matchResources),
    columns: [
      nameColumn,
      column("PolicyName", "The policy that is bound."),
      column("ParamRef", "Its parameters."),
      ageColumn,
    ],
    row(object, now) {
      const { policyName = "", paramRef } = object["spec"] ?? {};
      const reference = !paramRef
        ? "<unset>"
        : paramRef.name
          ? `${paramRef.namespace ? `${paramRef.namespace}/` : "*/"}${paramRef.name}`
          : "*";
      return [object.metadata.name, policyName, reference, age(object, now)];
    },
  },
);

export const certificateSigningRequest: ResourceDefinition = define(
  {
    group: "certificates.k8s.io",
    kind: "CertificateSigningRequest",
    resource: "certificatesigningrequests",
    namespaced: false,
  },
  {
    shortNames: ["csr"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      if (!spec.usages?.length) spec.usages = ["digital signature", "key encipherment"];
    },
    prepareForCreate(object) {
      object["status"] = {};
    },
    prepareForUpdate(object, old, subresource) {
      object["spec"] = old["spec"];
      if (subresource !== "approval") object["status"] = old["status"];
    },
    validate(object) {
      const spec: Fields = object["spec"] ?? {};
      const causes = spec["request"] ? [] : [required("spec.request")];
      if (!spec["signerName"]) causes.push(required("spec.signerName"));
      else if (!String(spec["signerName"]).includes("/")) {
        causes.push(
          invalid(
            "spec.signerName",
            spec["signerName"],
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
          ),
        );
      }
      if (Number(spec["expirationSeconds"]) < 600) {
        causes.push(
          invalid(
            "spec.expirationSeconds",
            spec["expirationSeconds"],
            "may not specify a duration less than 600 seconds (10 minutes)",
          ),
        );
      }
      return causes;
    },
    selectableFields: { "spec.signerName": (object) => object["spec"]?.signerName ?? "" },
    columns: [
      nameColumn,
      ageColumn,
      column("SignerName", "Who is to sign."),
      column("Requestor", "Who asks."),
      column("RequestedDuration", "For how long."),
      column("Condition", "What became of it."),
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const types = new Set(list(object["status"]?.conditions).map(({ type }) => String(type)));
      const state = types.has("Denied") ? "Denied" : types.has("Approved") ? "Approved" : "Pending";
      const failed = types.has("Failed") ? ",Failed" : "";
      const seconds = spec["expirationSeconds"];
      return [
        object.metadata.name,
        age(object, now),
        spec["signerName"] || "<none>",
        spec["username"] ?? "",
        seconds ? humanDuration(Number(seconds) * 1000) : "<none>",
        `${state}${failed}${object["status"]?.certificate ? ",Issued" : ""}`,
      ];
    },
  },
);
