/** Expressions that objects hold: that they can be compiled is checked where they are written. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { policyVariables, webhookVariables } from "../admission/conditions.ts";
import { invalid } from "./cause.ts";
import { list, textOf } from "./loose.ts";
import type { Fields } from "./resource.ts";

interface Held {
  field: string;
  text: unknown;
  /** The type of its result. */
  result?: string;
}

/** `matchConditions` of webhooks. */
export function checkWebhookConditions(object: KubeObject): Promise<StatusCause[]> {
  const held = list(object["webhooks"]).flatMap((webhook, index) =>
    conditions(`webhooks[${index}].`, webhook),
  );
  return check(held, webhookVariables);
}

/** Rules of custom resources. */
export async function checkSchemaRules(object: KubeObject): Promise<StatusCause[]> {
  const schemas = list(object["spec"]?.versions).map(
    ({ schema }) => (schema?.openAPIV3Schema ?? {}) as object,
  );
  if (!schemas.some(hasRules)) return [];
  const { ruleProblems } = await import("../cel/rules.ts");
  return schemas.flatMap((schema, index) =>
    ruleProblems(schema, `spec.versions[${index}].schema.openAPIV3Schema`),
  );
}

export function hasRules(schema: object): boolean {
  return JSON.stringify(schema).includes('"x-kubernetes-validations":');
}

/** All expressions of a ValidatingAdmissionPolicy. */
export function checkPolicyExpressions(object: KubeObject): Promise<StatusCause[]> {
  return check(policyExpressions(object["spec"] ?? {}), policyVariables);
}

function policyExpressions(spec: Fields): Held[] {
  return [
    ...conditions("spec.", spec),
    ...list(spec["variables"]).map(({ expression }, index) => ({
      field: `spec.variables[${index}].expression`,
      text: expression as unknown,
    })),
    ...list(spec["validations"]).map(({ expression }, index) => ({
      field: `spec.validations[${index}].expression`,
      text: expression as unknown,
      result: "bool",
    })),
    ...list(spec["validations"]).flatMap(({ messageExpression }, index) =>
      messageExpression
        ? {
            field: `spec.validations[${index}].messageExpression`,
            text: messageExpression as unknown,
            result: "string",
          }
        : [],
    ),
  ];
}

function conditions(path: string, holder: Fields): Held[] {
  return list(holder["matchConditions"]).map(({ expression }, index) => ({
    field: `${path}matchConditions[${index}].expression`,
    text: expression as unknown,
    result: "bool",
  }));
}

async function check(held: Held[], variables: Record<string, string>): Promise<StatusCause[]> {
  if (held.length === 0) return [];
  const { compile, CompileError, environment } = await import("../cel/language.ts");
  const { authorizerType } = await import("../cel/authorizer.ts");
  const within = environment({ ...variables, authorizer: authorizerType });
  return held.flatMap(({ field, text, result }) => {
    try {
      compile(within, textOf(text), result);
      return [];
    } catch (error) {
      if (!(error instanceof CompileError)) throw error;
      return [invalid(field, text, error.message)];
    }
  });
}
