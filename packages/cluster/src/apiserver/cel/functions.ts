/**
 * Functions on plain values that Kubernetes adds to the standard ones: lists, strings, regular expressions and sets
 * (https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries).
 */
import { isDeepStrictEqual } from "node:util";
import type { Environment } from "@marcbachmann/cel-js";

type Ordered = bigint | number | string | boolean | Date;

export function addFunctions(environment: Environment): void {
  addLists(environment);
  addStrings(environment);
  addSets(environment);
}

function addLists(environment: Environment): void {
  const extreme = (name: string, isBetter: (one: Ordered, than: Ordered) => boolean) => (list: Ordered[]) => {
    const [first, ...others] = list;
    if (first === undefined) throw new Error(`${name} called on empty list`);
    return others.reduce((best, one) => (isBetter(one, best) ? one : best), first);
  };
  environment
    .registerFunction("list<dyn>.isSorted(): bool", (list: Ordered[]) =>
      list.every((one, index) => index === 0 || (list[index - 1] as Ordered) <= one),
    )
    .registerFunction(
      "list<T>.min(): T",
      extreme("min", (one, than) => one < than),
    )
    .registerFunction(
      "list<T>.max(): T",
      extreme("max", (one, than) => one > than),
    )
    .registerFunction("list<int>.sum(): int", (list: bigint[]) => list.reduce((sum, one) => sum + one, 0n))
    .registerFunction("list<double>.sum(): double", (list: number[]) =>
      list.reduce((sum, one) => sum + one, 0),
    )
    .registerFunction("list<dyn>.indexOf(dyn): int", (list: unknown[], wanted: unknown) =>
      BigInt(list.findIndex((one) => isDeepStrictEqual(one, wanted))),
    )
    .registerFunction("list<dyn>.lastIndexOf(dyn): int", (list: unknown[], wanted: unknown) =>
      BigInt(list.findLastIndex((one) => isDeepStrictEqual(one, wanted))),
    )
    .registerFunction("list<T>.distinct(): list<T>", (list: unknown[]) =>
      list.filter((one, index) => list.findIndex((other) => isDeepStrictEqual(one, other)) === index),
    );
}

function addStrings(environment: Environment): void {
  const replace = (text: string, from: string, to: string, times: bigint): string => {
    const parts = text.split(from);
    const changed = times < 0n ? parts.length - 1 : Math.min(Number(times), parts.length - 1);
    return parts
      .slice(1)
      .reduce((made, part, index) => made + (index < changed ? to : from) + part, parts[0] ?? "");
  };
  environment
    .registerFunction("string.charAt(int): string", (text: string, index: bigint) => {
      const characters = Array.from(text);
      if (index < 0n || index > characters.length) throw new Error(`index out of range: ${index}`);
      return characters[Number(index)] ?? "";
    })
    .registerFunction("string.replace(string, string): string", (text: string, from: string, to: string) =>
      text.replaceAll(from, () => to),
    )
    .registerFunction("string.replace(string, string, int): string", replace)
    .registerFunction("string.reverse(): string", (text: string) => Array.from(text).toReversed().join(""))
    .registerFunction("string.format(list<dyn>): string", format)
    .registerFunction(
      "string.find(string): string",
      (text: string, pattern: string) => new RegExp(pattern, "u").exec(text)?.[0] ?? "",
    )
    .registerFunction("string.findAll(string): list<string>", (text: string, pattern: string) =>
      matches(text, pattern),
    )
    .registerFunction(
      "string.findAll(string, int): list<string>",
      (text: string, pattern: string, limit: bigint) =>
        limit < 0n ? matches(text, pattern) : matches(text, pattern).slice(0, Number(limit)),
    );
}

function matches(text: string, pattern: string): string[] {
  return [...text.matchAll(new RegExp(pattern, "gu"))].map(([found]) => found);
}

/** Verbs of cel-go's `format`: https://pkg.go.dev/github.com/google/cel-go/ext#Strings. */
function format(template: string, values: unknown[]): string {
  let next = 0;
  return template.replaceAll(
    /%(?:\.(\d+))?([a-zA-Z%])/g,
    (_all, precision: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      if (next >= values.length) throw new Error(`index ${next} out of range`);
      const value = values[next++];
      const whole = (): bigint => BigInt(value as bigint | number);
      switch (verb) {
        case "s":
          return show(value);
        case "d":
          return String(whole());
        case "b":
          return typeof value === "boolean" ? (value ? "1" : "0") : whole().toString(2);
        case "o":
          return whole().toString(8);
        case "x":
        case "X": {
          const hex = typeof value === "string" ? Buffer.from(value).toString("hex") : whole().toString(16);
          return verb === "X" ? hex.toUpperCase() : hex;
        }
        case "f":
          return Number(value).toFixed(Number(precision ?? 6));
        case "e":
          return Number(value).toExponential(Number(precision ?? 6));
        default:
          throw new Error(`could not parse formatting clause: unrecognized formatting clause "${verb}"`);
      }
    },
  );
}

function show(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (value instanceof Date) return value.toISOString().replace(".000Z", "Z");
  if (value instanceof Map)
    return `{${[...value].map(([key, one]) => `${show(key)}: ${show(one)}`).join(", ")}}`;
  return String(value);
}

/** What the word `sets` is a value of. */
class Sets {
  readonly name = "sets";
}

function addSets(environment: Environment): void {
  const has = (list: unknown[], wanted: unknown): boolean =>
    list.some((one) => isDeepStrictEqual(one, wanted));
  const contains = (_sets: Sets, list: unknown[], part: unknown[]): boolean =>
    part.every((one) => has(list, one));
  environment
    .registerType("kubernetes.Sets", { ctor: Sets, fields: {} })
    .registerConstant("sets", "kubernetes.Sets", new Sets())
    .registerFunction("kubernetes.Sets.contains(list<dyn>, list<dyn>): bool", contains)
    .registerFunction(
      "kubernetes.Sets.equivalent(list<dyn>, list<dyn>): bool",
      (sets: Sets, left: unknown[], right: unknown[]) =>
        contains(sets, left, right) && contains(sets, right, left),
    )
    .registerFunction(
      "kubernetes.Sets.intersects(list<dyn>, list<dyn>): bool",
      (_sets: Sets, left: unknown[], right: unknown[]) => left.some((one) => has(right, one)),
    );
}
