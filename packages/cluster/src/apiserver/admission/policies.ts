/**
 * ValidatingAdmissionPolicies: refusals written as expressions instead of programs
 * (https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/). Left out: audit annotations, since there
 * is no audit log, and rules that match other versions of a kind.
 */
import { messageOf } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { selects, type LabelSelector } from "@kws/kube/selector";
import { ApiError, reasons, type Reason } from "@kws/kube/status";
import { forbidden } from "../failures.ts";
import type { ResourceDefinition } from "../resources/resource.ts";
import {
  compiledIn,
  conditionsMet,
  policyVariables,
  requestVariables,
  type MatchCondition,
  type RequestContext,
} from "./conditions.ts";
import { namespaceOf, rulesMatch, selectorsMatch, subjectOf, type Rule, type Selectors } from "./matching.ts";

export interface PolicyContext extends RequestContext {
  findKind(apiVersion: string, kind: string): ResourceDefinition | undefined;
}

interface MatchResources extends Selectors {
  resourceRules?: Rule[];
  excludeResourceRules?: Rule[];
}

export interface Validation {
  expression: string;
  message?: string;
  messageExpression?: string;
  reason?: Reason;
}

export interface PolicySpec {
  paramKind?: { apiVersion: string; kind: string };
  matchConstraints?: MatchResources;
  matchConditions?: MatchCondition[];
  variables?: { name: string; expression: string }[];
  validations?: Validation[];
  failurePolicy: "Fail" | "Ignore";
}

interface BindingSpec {
  policyName: string;
  matchResources?: MatchResources;
  paramRef?: {
    name?: string;
    namespace?: string;
    selector?: LabelSelector;
    parameterNotFoundAction?: "Allow" | "Deny";
  };
  validationActions?: ("Deny" | "Warn" | "Audit")[];
}

/** Why a validation does not let a request through. */
interface Objection {
  message: string;
  reason?: Reason;
}

const group = "admissionregistration.k8s.io";
const policies = { group, version: "v1", resource: "validatingadmissionpolicies", namespaced: false };
const bindings = { ...policies, resource: "validatingadmissionpolicybindings" };

/** Throws `ApiError` when a policy that is bound refuses the request. */
export async function enforcePolicies(context: PolicyContext): Promise<void> {
  let variables: Promise<Record<string, unknown>> | undefined;
  const shared = (): Promise<Record<string, unknown>> => (variables ??= requestVariables(context));
  for (const binding of context.list(bindings)) {
    const bound = binding.spec as BindingSpec;
    const policy = context.get(policies, bound.policyName);
    const spec = policy?.spec as PolicySpec | undefined;
    if (spec === undefined || !isAbout(context, spec.matchConstraints)) continue;
    if (bound.matchResources !== undefined && !isAbout(context, bound.matchResources, true)) continue;
    for (const { message, reason } of await objections(context, spec, bound, shared)) {
      const subject = `ValidatingAdmissionPolicy '${bound.policyName}' with binding '${binding.metadata.name}'`;
      const actions = bound.validationActions ?? [];
      if (actions.includes("Deny"))
        throw denied(context, `${subject} denied request: ${message}`, message, reason);
      if (actions.includes("Warn")) context.warn(`Validation failed for ${subject}: ${message}`);
    }
  }
}

/** A binding narrows its policy: one without rules is about all that the policy is about. */
function isAbout(context: PolicyContext, match: MatchResources | undefined, narrows = false): boolean {
  const { resourceRules = [], excludeResourceRules } = match ?? {};
  return (
    ((narrows && resourceRules.length === 0) || rulesMatch(context, resourceRules)) &&
    !rulesMatch(context, excludeResourceRules) &&
    selectorsMatch(context, match ?? {})
  );
}

async function objections(
  context: PolicyContext,
  spec: PolicySpec,
  binding: BindingSpec,
  shared: () => Promise<Record<string, unknown>>,
): Promise<Objection[]> {
  try {
    const found: Objection[] = [];
    for (const params of paramsOf(context, spec, binding)) {
      found.push(...(await judge(spec, params, shared)));
    }
    return found;
  } catch (error) {
    return spec.failurePolicy === "Ignore" ? [] : [{ message: messageOf(error) }];
  }
}

/** The objects that the policy is evaluated with, one after the other; an undefined one where it has no parameters. */
function paramsOf(
  context: PolicyContext,
  { paramKind }: PolicySpec,
  { paramRef }: BindingSpec,
): (KubeObject | undefined)[] {
  if (paramKind === undefined || paramRef === undefined) return [undefined];
  const { apiVersion, kind } = paramKind;
  const definition = context.findKind(apiVersion, kind);
  if (definition === undefined) {
    throw new Error(
      `failed to configure policy: failed to find resource referenced by paramKind: '${apiVersion}, Kind=${kind}'`,
    );
  }
  const { name, selector, parameterNotFoundAction } = paramRef;
  const namespace = definition.namespaced
    ? (paramRef.namespace ?? namespaceOf(context)?.metadata.name)
    : undefined;
  if (definition.namespaced && namespace === undefined) {
    throw new Error(
      "failed to configure binding: cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
    );
  }
  const found = name
    ? [context.get(definition, name, namespace)].filter((one) => one !== undefined)
    : context.list(definition, namespace).filter(({ metadata }) => selects(selector, metadata.labels));
  if (found.length === 0 && parameterNotFoundAction !== "Allow") {
    throw new Error(
      "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
    );
  }
  return [...found];
}

async function judge(
  spec: PolicySpec,
  params: KubeObject | undefined,
  shared: () => Promise<Record<string, unknown>>,
): Promise<Objection[]> {
  const values = async (): Promise<Record<string, unknown>> => {
    const { toValue } = await import("../cel/values.ts");
    return { ...(await shared()), params: toValue(params) };
  };
  if (!(await conditionsMet(spec.matchConditions, policyVariables, values))) return [];
  const { evaluationProblem } = await import("../cel/language.ts");
  const known = await withVariables(spec, await values());
  const found: Objection[] = [];
  for (const validation of spec.validations ?? []) {
    try {
      const expression = await compiledIn(validation, validation.expression, policyVariables);
      if (expression.evaluate(known) !== true) {
        found.push({ message: await messageFor(validation, known), reason: validation.reason });
      }
    } catch (error) {
      if (spec.failurePolicy === "Ignore") continue;
      const text = `expression '${validation.expression}' resulted in error: ${evaluationProblem(error)}`;
      found.push({ message: text });
    }
  }
  return found;
}

/** Adds `variables`, each evaluated when it is first read, so that one that nobody reads fails nothing. */
async function withVariables(
  spec: PolicySpec,
  values: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const variables: Record<string, unknown> = {};
  const known = { ...values, variables };
  for (const variable of spec.variables ?? []) {
    const expression = await compiledIn(variable, variable.expression, policyVariables);
    const get = (): unknown => {
      const value = expression.evaluate(known);
      Object.defineProperty(variables, variable.name, { value, enumerable: true });
      return value;
    };
    Object.defineProperty(variables, variable.name, { get, enumerable: true, configurable: true });
  }
  return known;
}

/** As upstream: a message that cannot be made, or is none, gives way to the fixed one, and that to the expression. */
async function messageFor(validation: Validation, known: Record<string, unknown>): Promise<string> {
  const { expression, message, messageExpression } = validation;
  const fixed = message?.trim() || `failed expression: ${expression.trim()}`;
  if (!messageExpression) return fixed;
  try {
    const made = (await compiledIn(validation, messageExpression, policyVariables)).evaluate(known);
    return typeof made === "string" && made.trim() !== "" && !made.includes("\n") ? made.trim() : fixed;
  } catch {
    // The refusal stands, whatever becomes of its words.
    return fixed;
  }
}

function denied(context: PolicyContext, text: string, cause: string, reason: Reason = "Invalid"): ApiError {
  const { status } = forbidden(context.definition, subjectOf(context).name ?? "", text);
  const details = { ...status.details, causes: [{ message: cause }] };
  return new ApiError({ ...status, reason, code: reasons[reason], details });
}
