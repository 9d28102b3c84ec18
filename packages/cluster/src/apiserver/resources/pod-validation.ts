/** The rules of pods and of pod specs in templates, after upstream's pkg/apis/core/validation. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { duplicate, forbidden, invalid, nonNegative, notSupported, oneOf, required, same } from "./cause.ts";
import { validateContainers } from "./container-validation.ts";
import { checkDns1123Label, checkDns1123Subdomain, checkLabelValue, checkQualifiedName } from "./names.ts";
import { list, omit } from "./loose.ts";
import type { Fields } from "./resource.ts";
import { validateLabelSelector } from "./selector-validation.ts";
import { validateVolumes } from "./volume-validation.ts";

export function validatePod(object: KubeObject, old?: KubeObject, subresource?: string): StatusCause[] {
  const spec: Fields = object["spec"] ?? {};
  if (old !== undefined && subresource === "status") return [];
  const causes = validatePodSpec(spec, "spec");
  if (old === undefined) {
    if (list(spec["ephemeralContainers"]).length > 0) {
      causes.push(forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    return causes;
  }
  return [...causes, ...validatePodUpdate(spec, old["spec"] ?? {}, subresource)];
}

export function validatePodSpec(spec: Fields, path: string, extraVolumes: string[] = []): StatusCause[] {
  const volumes = new Set([...list(spec["volumes"]).map(({ name }) => String(name)), ...extraVolumes]);
  const causes = [
    ...validateVolumes(`${path}.volumes`, list(spec["volumes"])),
    ...validateContainers(spec, path, volumes),
    ...oneOf(`${path}.restartPolicy`, spec["restartPolicy"], ["Always", "Never", "OnFailure"]),
    ...oneOf(`${path}.dnsPolicy`, spec["dnsPolicy"], [
      "ClusterFirst",
      "ClusterFirstWithHostNet",
      "Default",
      "None",
    ]),
    ...nonNegative(`${path}.terminationGracePeriodSeconds`, spec["terminationGracePeriodSeconds"]),
    ...validateTolerations(`${path}.tolerations`, list(spec["tolerations"])),
    ...validateSpread(`${path}.topologySpreadConstraints`, list(spec["topologySpreadConstraints"])),
    ...validateHostAliases(`${path}.hostAliases`, list(spec["hostAliases"])),
    ...validateAffinity(`${path}.affinity`, spec["affinity"]),
  ];
  for (const [key, value] of Object.entries(spec["nodeSelector"] ?? {})) {
    causes.push(...checkQualifiedName(key).map((detail) => invalid(`${path}.nodeSelector`, key, detail)));
    causes.push(
      ...checkLabelValue(String(value)).map((detail) => invalid(`${path}.nodeSelector`, value, detail)),
    );
  }
  for (const field of ["hostname", "subdomain"]) {
    if (!spec[field]) continue;
    causes.push(
      ...checkDns1123Label(String(spec[field])).map((detail) =>
        invalid(`${path}.${field}`, spec[field], detail),
      ),
    );
  }
  for (const field of ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"]) {
    if (!spec[field]) continue;
    causes.push(
      ...checkDns1123Subdomain(String(spec[field])).map((detail) =>
        invalid(`${path}.${field}`, spec[field], detail),
      ),
    );
  }
  const deadline = spec["activeDeadlineSeconds"];
  if (
    deadline !== undefined &&
    deadline !== null &&
    !(Number(deadline) >= 1 && Number(deadline) <= 2_147_483_647)
  ) {
    causes.push(
      invalid(`${path}.activeDeadlineSeconds`, deadline, "must be between 1 and 2147483647, inclusive"),
    );
  }
  if (spec["dnsPolicy"] === "None" && !spec["dnsConfig"]?.nameservers?.length) {
    causes.push(
      required(
        `${path}.dnsConfig.nameservers`,
        "must provide at least one DNS nameserver when `dnsPolicy` is None",
      ),
    );
  }
  if (spec["hostUsers"] === false && spec["hostNetwork"] === true) {
    causes.push(forbidden(`${path}.hostNetwork`, "when `hostUsers` is false"));
  }
  for (const [index, secret] of list(spec["imagePullSecrets"]).entries()) {
    if (!secret["name"]) causes.push(required(`${path}.imagePullSecrets[${index}].name`));
  }
  for (const [index, gate] of list(spec["readinessGates"]).entries()) {
    const field = `${path}.readinessGates[${index}].conditionType`;
    causes.push(
      ...checkQualifiedName(String(gate["conditionType"] ?? "")).map((detail) =>
        invalid(field, gate["conditionType"], detail),
      ),
    );
  }
  return causes;
}

const tolerationEffects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

function validateTolerations(path: string, tolerations: Fields[]): StatusCause[] {
  return tolerations.flatMap((toleration, index) => {
    const at = `${path}[${index}]`;
    const causes: StatusCause[] = [];
    const { key, operator, value, effect, tolerationSeconds } = toleration;
    if (key)
      causes.push(...checkQualifiedName(String(key)).map((detail) => invalid(`${at}.key`, key, detail)));
    if (!key && operator !== "Exists") {
      causes.push(
        invalid(
          `${at}.operator`,
          operator ?? "",
          'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
      );
    }
    if (operator && operator !== "Equal" && operator !== "Exists") {
      causes.push(notSupported(`${at}.operator`, operator, ["Equal", "Exists"]));
    }
    if (operator === "Exists" && value) {
      causes.push(invalid(`${at}.operator`, toleration, "value must be empty when `operator` is 'Exists'"));
    }
    if (tolerationSeconds !== undefined && tolerationSeconds !== null && effect !== "NoExecute") {
      causes.push(
        invalid(`${at}.effect`, effect ?? "", "effect must be 'NoExecute' when `tolerationSeconds` is set"),
      );
    }
    if (effect && !tolerationEffects.includes(effect)) {
      causes.push(notSupported(`${at}.effect`, effect, tolerationEffects));
    }
    return causes;
  });
}

function validateSpread(path: string, constraints: Fields[]): StatusCause[] {
  return constraints.flatMap((constraint, index) => {
    const at = `${path}[${index}]`;
    const causes = oneOf(`${at}.whenUnsatisfiable`, constraint["whenUnsatisfiable"], [
      "DoNotSchedule",
      "ScheduleAnyway",
    ]);
    if (!(Number(constraint["maxSkew"]) > 0)) {
      causes.push(invalid(`${at}.maxSkew`, constraint["maxSkew"] ?? 0, "must be greater than zero"));
    }
    if (!constraint["topologyKey"]) causes.push(required(`${at}.topologyKey`, "can not be empty"));
    return [...causes, ...validateLabelSelector(`${at}.labelSelector`, constraint["labelSelector"])];
  });
}

function validateHostAliases(path: string, aliases: Fields[]): StatusCause[] {
  return aliases.flatMap((alias, index) =>
    ((alias["hostnames"] ?? []) as string[]).flatMap((hostname) =>
      checkDns1123Subdomain(hostname).map((detail) =>
        invalid(`${path}[${index}].hostnames`, hostname, detail),
      ),
    ),
  );
}

function validateAffinity(path: string, affinity: Fields | undefined | null): StatusCause[] {
  const causes: StatusCause[] = [];
  const node: Fields = affinity?.["nodeAffinity"] ?? {};
  const wanted: Fields | undefined = node["requiredDuringSchedulingIgnoredDuringExecution"] ?? undefined;
  const at = `${path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
  if (wanted !== undefined && list(wanted["nodeSelectorTerms"]).length === 0) {
    causes.push(required(at, "must have at least one node selector term"));
  }
  for (const [index, term] of list(wanted?.["nodeSelectorTerms"]).entries()) {
    for (const [each, expression] of list(term["matchExpressions"]).entries()) {
      const field = `${at}[${index}].matchExpressions[${each}]`;
      const operator = expression["operator"];
      if (!["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"].includes(operator)) {
        causes.push(invalid(`${field}.operator`, operator ?? "", "not a valid selector operator"));
      } else if ((operator === "In" || operator === "NotIn") && !expression["values"]?.length) {
        causes.push(required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    }
  }
  for (const kind of ["podAffinity", "podAntiAffinity"]) {
    const terms = list(affinity?.[kind]?.requiredDuringSchedulingIgnoredDuringExecution);
    for (const [index, term] of terms.entries()) {
      const field = `${path}.${kind}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`;
      if (!term["topologyKey"]) {
        causes.push(required(`${field}.topologyKey`, "can not be empty"));
      }
      causes.push(...validateLabelSelector(`${field}.labelSelector`, term["labelSelector"]));
    }
  }
  return causes;
}

const updateRule =
  "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

function validatePodUpdate(spec: Fields, old: Fields, subresource: string | undefined): StatusCause[] {
  if (subresource === "ephemeralcontainers") return validateEphemeralUpdate(spec, old);
  if (subresource === "resize" || subresource === "binding") return [];
  const causes: StatusCause[] = [];
  if (list(spec["containers"]).length !== list(old["containers"]).length) {
    causes.push(forbidden("spec.containers", "pod updates may not add or remove containers"));
    return causes;
  }
  const before = list(old["tolerations"]);
  const after = list(spec["tolerations"]);
  if (before.some((toleration) => !after.some((kept) => sameToleration(kept, toleration)))) {
    causes.push(
      forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"),
    );
  }
  const deadline = spec["activeDeadlineSeconds"];
  if (old["activeDeadlineSeconds"] && (!deadline || deadline > old["activeDeadlineSeconds"])) {
    causes.push(
      invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value"),
    );
  }
  if (!same(fixed(spec, old), fixed(old, old))) causes.push(forbidden("spec", updateRule));
  return causes;
}

function sameToleration(one: Fields, other: Fields): boolean {
  return same({ ...one, tolerationSeconds: undefined }, { ...other, tolerationSeconds: undefined });
}

/** The part of a spec that an update may not change. A pod that waits for its gates may narrow where it can run. */
function fixed(spec: Fields, old: Fields): Fields {
  const bare = (containers: unknown) => list(containers).map((container) => omit(container, "image"));
  const gated = list(old["schedulingGates"]).length > 0;
  const free = ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"];
  if (gated) free.push("nodeSelector", "affinity");
  // The scheduler's binding writes the name of the node once.
  if (!old["nodeName"]) free.push("nodeName");
  return {
    ...omit(spec, ...free),
    containers: bare(spec["containers"]),
    initContainers: bare(spec["initContainers"]),
    volumes: list(spec["volumes"]),
  };
}

function validateEphemeralUpdate(spec: Fields, old: Fields): StatusCause[] {
  const path = "spec.ephemeralContainers";
  const after = new Map(list(spec["ephemeralContainers"]).map((container) => [container["name"], container]));
  const causes: StatusCause[] = [];
  for (const [index, container] of list(old["ephemeralContainers"]).entries()) {
    const kept = after.get(container["name"]);
    if (kept === undefined) {
      causes.push(
        forbidden(
          path,
          `existing ephemeral containers ${JSON.stringify(container["name"])} may not be removed\n`,
        ),
      );
    } else if (!same(kept, container)) {
      causes.push(
        forbidden(
          path,
          `existing ephemeral containers ${JSON.stringify(container["name"])} may not be changed\n`,
        ),
      );
    }
    if (list(spec["ephemeralContainers"]).filter(({ name }) => name === container["name"]).length > 1) {
      causes.push(duplicate(`${path}[${index}].name`, container["name"]));
    }
  }
  return causes;
}
