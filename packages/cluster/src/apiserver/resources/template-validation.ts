/** What workloads share: a selector, a pod template that it matches, and counts that may be percentages. */
import { selects } from "@kws/kube/selector";
import type { StatusCause } from "@kws/kube/status";
import { invalid, notSupported, required } from "./cause.ts";
import { textOf } from "./loose.ts";
import { validateAnnotations, validateLabels } from "./metadata.ts";
import { validatePodSpec } from "./pod-validation.ts";
import type { Fields } from "./resource.ts";
import { validateLabelSelector } from "./selector-validation.ts";

export interface TemplateRules {
  /** The restart policies that pods of this workload may have; any unless given. */
  restartPolicies?: string[];
  /** As it is called in messages; `deployment` unless given. */
  kind?: string;
  /** Names of volumes that the workload adds to its pods. */
  extraVolumes?: string[];
}

export function validatePodTemplate(
  template: Fields | undefined | null,
  path: string,
  rules: TemplateRules = {},
): StatusCause[] {
  if (!template) return [required(path)];
  const spec: Fields = template["spec"] ?? {};
  const causes = [
    ...validateLabels(`${path}.labels`, template["metadata"]?.labels),
    ...validateAnnotations(`${path}.annotations`, template["metadata"]?.annotations),
    ...validatePodSpec(spec, `${path}.spec`, rules.extraVolumes),
  ];
  if (rules.restartPolicies !== undefined && !rules.restartPolicies.includes(spec["restartPolicy"])) {
    causes.push(notSupported(`${path}.spec.restartPolicy`, spec["restartPolicy"], rules.restartPolicies));
  }
  return causes;
}

/** `spec.selector` and `spec.template` of Deployments and their like. */
export function validateSelectedTemplate(spec: Fields, rules: TemplateRules): StatusCause[] {
  const causes: StatusCause[] = [];
  const selector: Fields | undefined = spec["selector"] ?? undefined;
  if (selector === undefined) causes.push(required("spec.selector"));
  else {
    causes.push(...validateLabelSelector("spec.selector", selector));
    const size =
      Object.keys(selector["matchLabels"] ?? {}).length + (selector["matchExpressions"] ?? []).length;
    if (size === 0) {
      causes.push(
        invalid("spec.selector", selector, `empty selector is invalid for ${rules.kind ?? "deployment"}`),
      );
    }
  }
  const labels: Record<string, string> = spec["template"]?.metadata?.labels ?? {};
  if (selector !== undefined && causes.length === 0 && !selects(selector, labels)) {
    causes.push(
      invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"),
    );
  }
  return [...causes, ...validatePodTemplate(spec["template"], "spec.template", rules)];
}

/** An integer that is not negative, or a percentage, at most `limit` percent. */
export function validateIntOrPercent(field: string, value: unknown, limit?: number): StatusCause[] {
  if (value === undefined || value === null) return [];
  if (typeof value === "number") {
    return value < 0 ? [invalid(field, value, "must be greater than or equal to 0")] : [];
  }
  const percent = /^(\d+)%$/.exec(textOf(value))?.[1];
  if (percent === undefined) {
    return [
      invalid(
        field,
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%', regex used for validation is '[0-9]+%')",
      ),
    ];
  }
  return limit !== undefined && Number(percent) > limit
    ? [invalid(field, value, `must not be greater than ${limit}%`)]
    : [];
}
