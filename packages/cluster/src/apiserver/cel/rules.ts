/**
 * `x-kubernetes-validations`: rules that the schema of a custom resource has for its values
 * (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules).
 */
import { isDeepStrictEqual } from "node:util";
import { Optional } from "@marcbachmann/cel-js";
import type { StatusCause } from "@kws/kube/status";
import { isObject, own, type Json } from "../schema/json.ts";
import { shapeOf, structuralSchema } from "../schema/structural.ts";
import type { TypeSchema } from "../schema/types.ts";
import {
  CompileError,
  compile,
  environment,
  evaluationProblem,
  withinTime,
  type Expression,
} from "./language.ts";
import { declareType } from "./types.ts";
import { toValue } from "./values.ts";

interface Rule {
  rule: string;
  message?: string;
  messageExpression?: string;
  reason?: string;
  fieldPath?: string;
  optionalOldSelf?: boolean;
}

/** A value, the schema that it is to fulfil, and its place. */
interface Node {
  schema: Json;
  value: unknown;
  /** The value before the update, where it is known which one that was. */
  old: unknown;
  path: string;
}

/** What the rules of a schema say against an object; an empty list accepts it. It fits the rest of the schema. */
export function brokenRules(openAPIV3Schema: object, object: object, old?: object): StatusCause[] {
  const root = { schema: openAPIV3Schema as Json, value: object, old, path: "" };
  try {
    return withinTime(() => [...nodesOf(root)].flatMap(judge));
  } catch (error) {
    return [invalid("", "object", `the rules cannot be evaluated: ${evaluationProblem(error)}`)];
  }
}

/** What keeps the rules of a schema from being evaluated; `path` is that of the schema. */
export function ruleProblems(openAPIV3Schema: object, path: string): StatusCause[] {
  return [...schemasOf(openAPIV3Schema as Json, path)].flatMap(({ schema, path }) =>
    rulesOf(schema).flatMap((rule, index) => {
      const place = `${path}.x-kubernetes-validations[${index}]`;
      try {
        compiledRule(rule, schema, schema === openAPIV3Schema);
        return [];
      } catch (error) {
        if (!(error instanceof CompileError)) throw error;
        return [invalid(`${place}.rule`, rule.rule, error.message)];
      }
    }),
  );
}

function* schemasOf(schema: Json, path: string): Generator<{ schema: Json; path: string }> {
  yield { schema, path };
  const { properties, items, additionalProperties } = schema;
  for (const [name, property] of Object.entries(isObject(properties) ? properties : {}))
    if (isObject(property)) yield* schemasOf(property, `${path}.properties[${name}]`);
  if (isObject(items)) yield* schemasOf(items, `${path}.items`);
  if (isObject(additionalProperties)) yield* schemasOf(additionalProperties, `${path}.additionalProperties`);
}

/** The value and all that it holds, each with its schema. */
function* nodesOf(node: Node): Generator<Node> {
  const { schema, value, old, path } = node;
  if (value === null || value === undefined) return;
  yield node;
  if (Array.isArray(value)) {
    if (!isObject(schema["items"])) return;
    for (const [index, item] of value.entries()) {
      yield* nodesOf({
        schema: schema["items"],
        value: item,
        old: counterpart(schema, item, old),
        path: `${path}[${index}]`,
      });
    }
  } else if (isObject(value)) {
    const properties = isObject(schema["properties"]) ? schema["properties"] : {};
    for (const [key, field] of Object.entries(value)) {
      const property = own(properties, key) ?? schema["additionalProperties"];
      if (!isObject(property)) continue;
      const place = path === "" ? key : `${path}.${key}`;
      yield* nodesOf({
        schema: property,
        value: field,
        old: isObject(old) ? own(old, key) : undefined,
        path: place,
      });
    }
  }
}

/** The item of the old list with the same keys; items of other lists have none. */
function counterpart(schema: Json, item: unknown, old: unknown): unknown {
  const keys = schema["x-kubernetes-list-map-keys"];
  if (schema["x-kubernetes-list-type"] !== "map" || !Array.isArray(keys) || !isObject(item)) return undefined;
  if (!Array.isArray(old)) return undefined;
  return old.find(
    (one) =>
      isObject(one) && keys.every((key) => isDeepStrictEqual(own(one, String(key)), own(item, String(key)))),
  );
}

function judge({ schema, value, old, path }: Node): StatusCause[] {
  return rulesOf(schema).flatMap((rule) => {
    const { expression, message, isTransition, shape } = compiledRule(rule, schema, path === "");
    if (isTransition ? old === undefined && rule.optionalOldSelf !== true : isDeepStrictEqual(value, old)) {
      // As upstream: there is nothing to compare with, or nothing has changed since the rule was not yet there.
      return [];
    }
    const before = old === undefined ? undefined : toValue(old, shape);
    const oldSelf =
      rule.optionalOldSelf === true ? (before === undefined ? Optional.none() : Optional.of(before)) : before;
    const variables = { self: toValue(value, shape), oldSelf };
    const type = typeof schema["type"] === "string" ? schema["type"] : "object";
    try {
      if (expression.evaluate(variables) === true) return [];
    } catch (error) {
      return [
        invalid(path, type, `${evaluationProblem(error)} evaluating rule: ${rule.message || rule.rule}`),
      ];
    }
    const cause = invalid(path + (rule.fieldPath ?? ""), type, words(rule, message, variables));
    return [{ ...cause, reason: rule.reason ?? "FieldValueInvalid" }];
  });
}

function words(rule: Rule, expression: Expression | undefined, variables: Record<string, unknown>): string {
  const fixed = rule.message || `failed rule: ${rule.rule}`;
  try {
    const made = expression?.evaluate(variables);
    return typeof made === "string" && made.trim() !== "" && !made.includes("\n") ? made : fixed;
  } catch {
    // The refusal stands, whatever becomes of its words.
    return fixed;
  }
}

function invalid(path: string, value: unknown, detail: string): StatusCause {
  const field = path === "" ? "<nil>" : path.replace(/^\./, "");
  return {
    reason: "FieldValueInvalid",
    field,
    message: `Invalid value: ${JSON.stringify(value)}: ${detail}`,
  };
}

function rulesOf(schema: Json): Rule[] {
  const rules = schema["x-kubernetes-validations"];
  return Array.isArray(rules) ? (rules as Rule[]) : [];
}

interface CompiledRule {
  expression: Expression;
  message?: Expression;
  /** It compares with the value before the update. */
  isTransition: boolean;
  shape: TypeSchema;
}

const compiled = new WeakMap<Rule, CompiledRule>();

/** Types are checked by the schema; values carry their own when a rule is evaluated. Throws `CompileError`. */
function compiledRule(rule: Rule, schema: Json, isRoot: boolean): CompiledRule {
  const known = compiled.get(rule);
  if (known !== undefined) return known;
  const shape = isRoot ? structuralSchema(schema) : shapeOf(schema);
  const typed = (withOld: boolean) => {
    const within = environment();
    const type = declareType(within, shape);
    within.registerVariable("self", type);
    if (withOld) within.registerVariable("oldSelf", rule.optionalOldSelf === true ? "optional<dyn>" : type);
    return within;
  };
  const isTransition = mentionsOldSelf(rule.rule);
  compile(typed(isTransition), rule.rule, "bool");
  if (rule.messageExpression) compile(typed(isTransition), rule.messageExpression, "string");
  const untyped = environment({ self: "dyn", oldSelf: "dyn" });
  const made: CompiledRule = {
    expression: compile(untyped, rule.rule),
    ...(rule.messageExpression ? { message: compile(untyped, rule.messageExpression) } : {}),
    isTransition,
    shape,
  };
  compiled.set(rule, made);
  return made;
}

/** Outside of strings, where it would only be a word. */
function mentionsOldSelf(rule: string): boolean {
  return /\boldSelf\b/.test(rule.replaceAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '""'));
}
