/**
 * The part of JSONPath that printer columns use: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`,
 * `.spec.rules[*].host`, `.metadata.labels.app\.kubernetes\.io/name`, `['quoted']`, indexes and `..name` are not.
 */

type Step =
  | { kind: "field"; name: string }
  | { kind: "index"; index: number }
  | { kind: "all" }
  | { kind: "filter"; path: Step[]; operator: string; value: string | number | boolean };

export class JsonPathError extends Error {
  override name = "JsonPathError";
}

/** Far more than any column needs; the time to read one that is malformed grows faster than its length. */
const maximumLength = 1024;

/** The values at a path, none when nothing is there. With or without the braces of kubectl's templates. */
export function compileJsonPath(text: string): (object: unknown) => unknown[] {
  if (text.length > maximumLength) {
    throw new JsonPathError(`a JSONPath may have ${maximumLength} characters, this one has ${text.length}`);
  }
  const inner = text.trim().replace(/^\{(.*)\}$/, "$1");
  const steps = parse(inner.replace(/^\$/, ""));
  return (object) => evaluate(steps, object);
}

const token =
  /^(?:\.?\[\?\(\s*@(?<path>[^=!<>]*?)\s*(?<operator>==|!=|>=|<=|>|<)\s*(?<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]|\.?\[(?<index>-?\d+)\]|\.?\[(?<star>\*)\]|\.?\[(?:'(?<single>[^']*)'|"(?<double>[^"]*)")\]|\.(?<dotStar>\*)|\.?(?<field>(?:\\.|[^.[\]\\])+))/;

function parse(text: string): Step[] {
  const steps: Step[] = [];
  let rest = text;
  while (rest !== "" && rest !== ".") {
    const match = token.exec(rest);
    if (match?.groups === undefined || match[0] === "") {
      throw new JsonPathError(`cannot read the JSONPath "${text}" at "${rest}"`);
    }
    steps.push(toStep(match.groups));
    rest = rest.slice(match[0].length);
  }
  return steps;
}

function toStep(groups: Record<string, string | undefined>): Step {
  const { path, operator, value, index, star, dotStar, single, double, field = "" } = groups;
  if (operator !== undefined) {
    return { kind: "filter", path: parse(path ?? ""), operator, value: literal(value ?? "") };
  }
  if (index !== undefined) return { kind: "index", index: Number(index) };
  if (star !== undefined || dotStar !== undefined) return { kind: "all" };
  return { kind: "field", name: single ?? double ?? field.replaceAll(/\\(.)/g, "$1") };
}

function literal(text: string): string | number | boolean {
  if (/^["']/.test(text)) return text.slice(1, -1);
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function evaluate(steps: Step[], object: unknown): unknown[] {
  return steps.reduce<unknown[]>((values, step) => values.flatMap((value) => advance(step, value)), [object]);
}

function advance(step: Step, value: unknown): unknown[] {
  if (value === null || typeof value !== "object") return [];
  switch (step.kind) {
    case "field": {
      if (Array.isArray(value) || !Object.hasOwn(value, step.name)) return [];
      const found = (value as Record<string, unknown>)[step.name];
      return found === undefined || found === null ? [] : [found];
    }
    case "index":
      return Array.isArray(value) ? (value as unknown[]).slice(step.index).slice(0, 1) : [];
    case "all":
      return Array.isArray(value) ? (value as unknown[]) : Object.values(value);
    case "filter":
      return (Array.isArray(value) ? (value as unknown[]) : [value]).filter((item) =>
        evaluate(step.path, item).some((found) => compare(found, step.operator, step.value)),
      );
  }
}

function compare(left: unknown, operator: string, right: string | number | boolean): boolean {
  switch (operator) {
    case "==":
      return left === right;
    case "!=":
      return left !== right;
    case ">":
      return Number(left) > Number(right);
    case "<":
      return Number(left) < Number(right);
    case ">=":
      return Number(left) >= Number(right);
    default:
      return Number(left) <= Number(right);
  }
}
