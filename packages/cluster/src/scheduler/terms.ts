/** Terms that pods use to speak of nodes and of other pods: node selectors, tolerations, pod affinity. Pure. */
import type { KubeObject } from "@kws/kube/object";
import { matches, selects, type LabelSelector, type Requirement } from "@kws/kube/selector";
import type { Pod } from "../controllers/pods.ts";
import type { Node, Taint } from "./node-info.ts";

export interface NodeSelectorTerm {
  matchExpressions?: { key: string; operator: Requirement["operator"]; values?: string[] }[];
  matchFields?: { key: string; operator: Requirement["operator"]; values?: string[] }[];
}

export interface Toleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
}

export interface PodAffinityTerm {
  labelSelector?: LabelSelector;
  namespaces?: string[];
  namespaceSelector?: LabelSelector;
  topologyKey: string;
  matchLabelKeys?: string[];
  mismatchLabelKeys?: string[];
}

/** One term's parts must all hold; a term without any matches nothing. */
export function matchesNodeTerm(
  { matchExpressions = [], matchFields = [] }: NodeSelectorTerm,
  node: Node,
): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const requirements = (list: NonNullable<NodeSelectorTerm["matchFields"]>): Requirement[] =>
    list.map(({ key, operator, values = [] }) => ({ key, operator, values }));
  return (
    matches(requirements(matchExpressions), node.metadata.labels) &&
    matches(requirements(matchFields), { "metadata.name": node.metadata.name })
  );
}

/** The pod's `nodeSelector` and required node affinity. */
export function wantsNode(pod: Pod, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  const wanted = Object.entries((pod.spec["nodeSelector"] ?? {}) as Record<string, string>);
  if (wanted.some(([key, value]) => labels[key] !== value)) return false;
  const required = pod.spec["affinity"]?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution as
    | { nodeSelectorTerms?: NodeSelectorTerm[] }
    | undefined;
  if (required === undefined) return true;
  return (required.nodeSelectorTerms ?? []).some((term) => matchesNodeTerm(term, node));
}

export function tolerates(tolerations: Toleration[], taint: Taint): boolean {
  return tolerations.some(({ key = "", operator = "Equal", value = "", effect = "" }) => {
    if (effect !== "" && effect !== taint.effect) return false;
    if (key !== "" && key !== taint.key) return false;
    if (operator === "Exists") return true;
    return key !== "" && value === (taint.value ?? "");
  });
}

/** The first taint of the effects that the pod does not tolerate. */
export function untolerated(pod: Pod, node: Node, effects: string[]): Taint | undefined {
  const tolerations = (pod.spec["tolerations"] ?? []) as Toleration[];
  return (node.spec?.taints ?? []).find(
    (taint) => effects.includes(taint.effect) && !tolerates(tolerations, taint),
  );
}

/** Looks a namespace's labels up by name. */
export type NamespaceLabels = (namespace: string) => Record<string, string> | undefined;

/** Whether the term of `owner` speaks of `other`; topology is the caller's business. */
export function matchesPodTerm(
  term: PodAffinityTerm,
  owner: KubeObject,
  other: Pod,
  labelsOf: NamespaceLabels,
): boolean {
  const { namespaces = [], namespaceSelector, labelSelector } = term;
  const otherNamespace = other.metadata.namespace ?? "";
  const inNamespace =
    namespaces.length === 0 && namespaceSelector === undefined
      ? otherNamespace === owner.metadata.namespace
      : namespaces.includes(otherNamespace) ||
        (namespaceSelector !== undefined && selects(namespaceSelector, labelsOf(otherNamespace) ?? {}));
  if (!inNamespace || !selects(labelSelector, other.metadata.labels)) return false;
  const same = (key: string): boolean => owner.metadata.labels?.[key] === other.metadata.labels?.[key];
  const has = (key: string): boolean => owner.metadata.labels?.[key] !== undefined;
  return (
    (term.matchLabelKeys ?? []).filter(has).every(same) &&
    !(term.mismatchLabelKeys ?? []).filter(has).some(same)
  );
}

export type AffinityKind = "podAffinity" | "podAntiAffinity";

export function requiredTerms(pod: Pod, kind: AffinityKind): PodAffinityTerm[] {
  const terms: unknown = pod.spec["affinity"]?.[kind]?.requiredDuringSchedulingIgnoredDuringExecution;
  return (terms ?? []) as PodAffinityTerm[];
}

export function preferredTerms(
  pod: Pod,
  kind: AffinityKind,
): { weight: number; podAffinityTerm: PodAffinityTerm }[] {
  const terms: unknown = pod.spec["affinity"]?.[kind]?.preferredDuringSchedulingIgnoredDuringExecution;
  return (terms ?? []) as { weight: number; podAffinityTerm: PodAffinityTerm }[];
}
