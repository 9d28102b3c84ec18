/** What admission webhooks and policies are about: rules and selectors that a request matches, or not. */
import { matches, toRequirements, type LabelSelector } from "@kws/kube/selector";
import type { KubeObject } from "@kws/kube/object";
import type { AdmissionContext } from "./context.ts";

export interface Rule {
  apiGroups?: string[];
  apiVersions?: string[];
  resources?: string[];
  resourceNames?: string[];
  operations?: string[];
  scope?: "Cluster" | "Namespaced" | "*";
}

export interface Selectors {
  namespaceSelector?: LabelSelector;
  objectSelector?: LabelSelector;
}

export function rulesMatch(context: AdmissionContext, rules: Rule[] | undefined): boolean {
  return (rules ?? []).some((rule) => ruleMatches(context, rule));
}

export function selectorsMatch(
  context: AdmissionContext,
  { namespaceSelector, objectSelector }: Selectors,
): boolean {
  const wanted = toRequirements(objectSelector ?? {});
  // What has no labels, such as the options of a connection, is selected by no selector.
  const isSelected = [context.object, context.old].some(
    (object) => object !== undefined && matches(wanted, object.metadata.labels),
  );
  return isInNamespace(context, namespaceSelector) && (wanted.length === 0 || isSelected);
}

/** The name and namespace of what the request is about. */
export function subjectOf({ connecting, object, old }: AdmissionContext): {
  name?: string;
  namespace?: string;
} {
  return connecting ?? (object ?? old)?.metadata ?? {};
}

/** The namespace that the request's object is in; undefined for one that is in none. */
export function namespaceOf(context: AdmissionContext): KubeObject | undefined {
  const { definition } = context;
  const { namespace } = subjectOf(context);
  if (!definition.namespaced || namespace === undefined) return undefined;
  return context.get({ group: "", version: "v1", resource: "namespaces", namespaced: false }, namespace);
}

function ruleMatches(context: AdmissionContext, rule: Rule): boolean {
  const { definition, operation, subresource } = context;
  const { group: own, version, resource, namespaced } = definition;
  const has = (list: string[] | undefined, value: string) =>
    (list ?? []).some((one) => one === "*" || one === value);
  const scope = rule.scope ?? "*";
  const { name = "" } = subjectOf(context);
  return (
    has(rule.apiGroups, own) &&
    has(rule.apiVersions, version) &&
    has(rule.operations, operation) &&
    (scope === "*" || (scope === "Namespaced") === namespaced) &&
    ((rule.resourceNames ?? []).length === 0 || has(rule.resourceNames, name)) &&
    (rule.resources ?? []).some((one) => {
      const [wanted = "", part = ""] = one.split("/");
      if (wanted !== "*" && wanted !== resource) return false;
      return part === (subresource ?? "") || part === "*";
    })
  );
}

function isInNamespace(context: AdmissionContext, selector: LabelSelector | undefined): boolean {
  const { definition, object, old } = context;
  const isNamespace = definition.group === "" && definition.resource === "namespaces";
  if (!definition.namespaced && !isNamespace) return true;
  const { labels } = (isNamespace ? (object ?? old) : namespaceOf(context))?.metadata ?? {};
  return matches(toRequirements(selector ?? {}), labels);
}
