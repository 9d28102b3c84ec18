/**
 * Sets of fields in the form of `managedFields` (FieldsV1): a tree whose keys are `f:<name>`, `k:<keys of a list item>`,
 * `v:<value>` and `i:<index>`. A node without children is a member of the set; one with children is a member when it holds
 * `.`. See https://kubernetes.io/docs/reference/using-api/server-side-apply/ and FieldsV1 in meta/v1. Sets are never changed
 * once made, so trees may share branches.
 */
import { isObject } from "./json.ts";

export interface FieldSet {
  [element: string]: FieldSet;
}

export function isEmptySet(set: FieldSet): boolean {
  // oxlint-disable-next-line eslint/no-unreachable-loop -- one key is enough
  for (const _ in set) return false;
  return true;
}

export function isMember(node: FieldSet | undefined): boolean {
  return node !== undefined && (isEmptySet(node) || node["."] !== undefined);
}

/** A node that is a member and has the given children. */
export function asMember(children: FieldSet): FieldSet {
  return isEmptySet(children) || children["."] !== undefined ? children : { ".": {}, ...children };
}

type Rule = (inA: boolean, inB: boolean) => boolean;

function combineChildren(a: FieldSet, b: FieldSet, rule: Rule): FieldSet {
  const result: FieldSet = {};
  for (const element in a) {
    if (element === ".") continue;
    const node = combine(a[element], b[element], rule);
    if (node !== undefined) result[element] = node;
  }
  for (const element in b) {
    if (element === "." || a[element] !== undefined) continue;
    const node = combine(undefined, b[element], rule);
    if (node !== undefined) result[element] = node;
  }
  return result;
}

function combine(a: FieldSet | undefined, b: FieldSet | undefined, rule: Rule): FieldSet | undefined {
  const children = combineChildren(a ?? {}, b ?? {}, rule);
  if (rule(isMember(a), isMember(b))) return asMember(children);
  return isEmptySet(children) ? undefined : children;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  if (isEmptySet(a)) return b;
  if (isEmptySet(b)) return a;
  return combineChildren(a, b, (inA, inB) => inA || inB);
}

/** Members of `a` that are no members of `b`; what lies below a member of `b` stays. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return isEmptySet(b) ? a : combineChildren(a, b, (inA, inB) => inA && !inB);
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return combineChildren(a, b, (inA, inB) => inA && inB);
}

export function sameSet(a: FieldSet, b: FieldSet): boolean {
  for (const element in a) {
    const other = b[element];
    const own = a[element] as FieldSet;
    if (other === undefined || !sameSet(own, other)) return false;
  }
  for (const element in b) if (a[element] === undefined) return false;
  return true;
}

/** Every member as a path such as `.spec.containers[name="web"].image`. */
export function pathsOf(set: FieldSet, prefix = ""): string[] {
  const paths: string[] = [];
  for (const element in set) {
    if (element === ".") continue;
    const node = set[element] as FieldSet;
    const path = `${prefix}${formatElement(element)}`;
    if (isMember(node)) paths.push(path);
    paths.push(...pathsOf(node, path));
  }
  return paths;
}

function formatElement(element: string): string {
  const rest = element.slice(2);
  if (element.startsWith("f:")) return `.${rest}`;
  if (element.startsWith("v:")) return `[=${rest}]`;
  if (element.startsWith("i:")) return `[${rest}]`;
  const keys: unknown = JSON.parse(rest);
  const pairs = isObject(keys) ? Object.entries(keys) : [];
  return `[${pairs.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
}

/** The set from untrusted JSON; undefined when it is not one. */
export function parseSet(value: unknown): FieldSet | undefined {
  return isObject(value) && isSet(value) ? value : undefined;
}

function isSet(value: object): value is FieldSet {
  return Object.entries(value).every(([element, node]: [string, unknown]) => {
    if (!isObject(node)) return false;
    if (element === ".") return isEmptySet(node as FieldSet);
    if (element.startsWith("k:") && !isKey(element.slice(2))) return false;
    return /^[fvik]:/.test(element) && isSet(node);
  });
}

function isKey(text: string): boolean {
  try {
    return isObject(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

/** Removes whole branches, given as paths of field names. */
export function withoutBranches(set: FieldSet, branches: string[][]): FieldSet {
  let result = set;
  for (const branch of branches) result = withoutBranch(result, branch);
  return result;
}

function withoutBranch(set: FieldSet, [name, ...rest]: string[]): FieldSet {
  const element = `f:${name}`;
  const node = set[element];
  if (node === undefined) return set;
  const { [element]: _, ...others } = set;
  if (rest.length === 0) return others;
  const inner = withoutBranch(node, rest);
  return isEmptySet(inner) ? others : { ...set, [element]: inner };
}
