/** `matchConditions` of webhooks and policies, and the variables by which expressions see a request. */
import { randomUUID } from "node:crypto";
import type { Authorizer } from "../authorization.ts";
import type { Expression } from "../cel/language.ts";
import type { AdmissionContext } from "./context.ts";
import { namespaceOf, subjectOf } from "./matching.ts";

export interface MatchCondition {
  name: string;
  expression: string;
}

/** What programs and expressions outside of the server are told of, besides what every step of admission is. */
export interface RequestContext extends AdmissionContext {
  dryRun: boolean;
  authorizer: Authorizer;
}

/** `request` of an AdmissionReview, https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request. */
export function requestOf(context: RequestContext) {
  const { definition, operation, subresource, user, dryRun, connecting } = context;
  const { group, version, resource } = definition;
  const { name = "", namespace } = subjectOf(context);
  const subjects = {
    kind: { group, version, kind: connecting?.options.kind ?? definition.kind },
    resource: { group, version, resource },
    ...(subresource === undefined ? {} : { subResource: subresource }),
  };
  const { name: username, ...identity } = user;
  return {
    uid: randomUUID(),
    ...subjects,
    requestKind: subjects.kind,
    requestResource: subjects.resource,
    ...(subresource === undefined ? {} : { requestSubResource: subresource }),
    name,
    ...(namespace === undefined ? {} : { namespace }),
    operation,
    userInfo: { username, ...identity },
    dryRun,
    ...(operation === "CONNECT"
      ? {}
      : { options: { kind: optionsOf[operation], apiVersion: "meta.k8s.io/v1" } }),
  };
}

const optionsOf = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" };

/** Variables of an expression about the request, as it is now. */
export async function requestVariables(context: RequestContext): Promise<Record<string, unknown>> {
  const { toValue } = await import("../cel/values.ts");
  const { Authorizer } = await import("../cel/authorizer.ts");
  const { definition, object, old, connecting, user, authorizer, subresource } = context;
  const { name, namespace } = subjectOf(context);
  const { group, resource } = definition;
  return {
    object: toValue(object ?? connecting?.options),
    oldObject: toValue(old),
    request: toValue(requestOf(context)),
    namespaceObject: toValue(namespaceOf(context)),
    authorizer: new Authorizer(authorizer, user, { group, resource, subresource, namespace, name }),
  };
}

/** The variables of webhooks' conditions, and their types. */
export const webhookVariables = { object: "dyn", oldObject: "dyn", request: "dyn" };

/** The same of policies. */
export const policyVariables = {
  ...webhookVariables,
  namespaceObject: "dyn",
  params: "dyn",
  variables: "dyn",
};

const compiled = new WeakMap<object, Map<string, Expression>>();

/** An expression of a stored object, compiled once; `holder` is the part of the object that it is in. */
export async function compiledIn(
  holder: object,
  text: string,
  variables: Record<string, string>,
): Promise<Expression> {
  let known = compiled.get(holder);
  if (known === undefined) compiled.set(holder, (known = new Map()));
  const found = known.get(text);
  if (found !== undefined) return found;
  const { compile, environment } = await import("../cel/language.ts");
  const { authorizerType } = await import("../cel/authorizer.ts");
  const made = compile(environment({ ...variables, authorizer: authorizerType }), text);
  known.set(text, made);
  return made;
}

/**
 * Whether all conditions are met. One that fails to be evaluated counts only where no other one is false, and then throws.
 */
export async function conditionsMet(
  conditions: MatchCondition[] | undefined,
  types: Record<string, string>,
  variables: () => Promise<Record<string, unknown>>,
): Promise<boolean> {
  if (!conditions?.length) return true;
  const { evaluationProblem } = await import("../cel/language.ts");
  const values = await variables();
  const problems: string[] = [];
  for (const condition of conditions) {
    try {
      const expression = await compiledIn(condition, condition.expression, types);
      if (expression.evaluate(values) !== true) return false;
    } catch (error) {
      problems.push(`expression '${condition.expression}' resulted in error: ${evaluationProblem(error)}`);
    }
  }
  if (problems.length > 0) throw new Error(problems.join(", "));
  return true;
}
