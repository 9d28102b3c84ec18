/**
 * Objects of several variants made into one template each: what all variants have alike stays as it is, and what differs
 * becomes a value. With a variant's values the templates make that variant's objects again.
 */
import { isDeepStrictEqual } from "node:util";
import { isMapping, type Values } from "../../charts/layers.ts";
import { Template } from "../templates.ts";

export interface KubeObject extends Values {
  apiVersion: string;
  kind: string;
  metadata: Values & { name: string; namespace?: string };
}

/** One object in all variants, by index; undefined where a variant does not have it. */
export interface Variants {
  /** What stands for it in the values, such as `webDeployment`. */
  key: string;
  objects: (KubeObject | undefined)[];
}

export interface Lifted {
  /** By key of the variants. */
  templates: Map<string, string>;
  /** Each variant's values. */
  values: Values[];
}

/** Left out of a variant. */
const absent = Symbol("absent");

export function lift(all: Variants[], count: number): Lifted {
  const values: Values[] = Array.from({ length: count }, () => ({}));
  /** Expressions by what they are in each variant: names and namespaces come up again and again, and are one value. */
  const known = new Map<string, string>();
  const templates = new Map<string, string>();
  for (const { key, objects } of all) templates.set(key, liftObject(key, objects));
  return { templates, values };

  function liftObject(key: string, objects: (KubeObject | undefined)[]): string {
    const template = new Template();
    const names = new Set<string>(["enabled", "secret"]);
    const isEverywhere = objects.every((object) => object !== undefined);
    if (!isEverywhere)
      for (const [index, object] of objects.entries()) put(index, key, "enabled", object !== undefined);
    const there = objects.flatMap((object, index) => (object === undefined ? [] : [{ index, object }]));
    const indexes = there.map(({ index }) => index);
    const own = there.map(({ object }) => (object.kind === "Secret" ? withoutData(object) : object));
    const made = merge(template, key, names, indexes, own, []) as Values;
    const text =
      template.write(made) + (there.some(({ object }) => object.kind === "Secret") ? secretData(key) : "");
    return isEverywhere ? text : `{{- if ${reference(key, "enabled")} }}\n${text}{{- end }}\n`;
  }

  /** One value for all of the variants that have the object. `path` is where it stands in it. */
  function merge(
    template: Template,
    key: string,
    names: Set<string>,
    indexes: number[],
    given: unknown[],
    path: string[],
  ): unknown {
    const [first, ...others] = given;
    if (others.every((other) => isDeepStrictEqual(other, first))) return first;
    if (given.every(isMapping)) {
      const result: Values = {};
      for (const name of new Set(given.flatMap((one) => Object.keys(one)))) {
        const inner = given.map((one) => (Object.hasOwn(one, name) ? one[name] : absent));
        const below = [...path, name];
        if (inner.includes(absent))
          result[template.maybe(name, value(key, names, indexes, inner, below))] = null;
        else result[name] = merge(template, key, names, indexes, inner, below);
      }
      return result;
    }
    if (given.every((one): one is unknown[] => Array.isArray(one)) && isAligned(given)) {
      return given[0]?.map((item, index) => {
        const name = isMapping(item) && typeof item["name"] === "string" ? item["name"] : String(index);
        return merge(
          template,
          key,
          names,
          indexes,
          given.map((one) => one[index]),
          [...path, name],
        );
      });
    }
    return template.expression(`{{ ${value(key, names, indexes, given, path)} | toJson }}`);
  }

  /** The expression for a value that differs. Names and namespaces come up again and again, and are one value each. */
  function value(
    key: string,
    names: Set<string>,
    indexes: number[],
    given: unknown[],
    path: string[],
  ): string {
    const isEverywhere = indexes.length === count;
    const identity = JSON.stringify(given.map((one) => (one === absent ? "" : [one])));
    const before = isEverywhere && given.every(isText) ? known.get(identity) : undefined;
    if (before !== undefined) return before;
    const isNamespace = isEverywhere && !known.has("namespace") && path.join(".") === "metadata.namespace";
    const name = isNamespace ? "namespace" : nameFor(path, names);
    // Where a variant lacks all of an object's values, templates still ask for them.
    for (const own of isNamespace ? [] : values) own[key] ??= {};
    for (const [at, one] of given.entries()) {
      const own = values[indexes[at] ?? 0];
      if (own === undefined || one === absent) continue;
      if (isNamespace) own[name] = one;
      else put(indexes[at] ?? 0, key, name, one);
    }
    const expression = isNamespace ? `.Values.${name}` : reference(key, name);
    if (isNamespace) known.set("namespace", expression);
    if (isEverywhere) known.set(identity, expression);
    return expression;
  }

  function put(index: number, key: string, name: string, one: unknown): void {
    const own = values[index];
    if (own === undefined) return;
    const object = isMapping(own[key]) ? own[key] : {};
    object[name] = one;
    own[key] = object;
  }
}

function isText(value: unknown): boolean {
  return typeof value === "string" || value === absent;
}

function reference(key: string, name: string): string {
  return `.Values.${key}.${name}`;
}

/** Lists whose items are the same ones: equally many, with the same names in the same order. */
function isAligned(lists: unknown[][]): boolean {
  const shape = (list: unknown[]) =>
    list.map((item) => (isMapping(item) ? (typeof item["name"] === "string" ? item["name"] : "{}") : "·"));
  const [first, ...others] = lists.map(shape);
  const isPlain = first?.every((one) => one === "·") === true;
  return !isPlain && others.every((other) => isDeepStrictEqual(other, first));
}

/** The shortest end of the path that is free, such as `image`, or `webImage` where there is an `image` already. */
function nameFor(path: string[], names: Set<string>): string {
  const parts = path.flatMap((part) => part.split(/[^A-Za-z0-9]+/)).filter((part) => part !== "");
  let name = "";
  for (let length = 1; length <= parts.length; length++) {
    name = camel(parts.slice(-length));
    if (!names.has(name) && /^[a-z]/i.test(name)) break;
  }
  let free = /^[a-z]/i.test(name) ? name : `value${name}`;
  for (let count = 2; names.has(free); count++) free = `${name}${count}`;
  names.add(free);
  return free;
}

/** `["web", "Deployment"]` → `webDeployment`. */
export function camel(parts: string[]): string {
  return parts
    .map((part) => (part === part.toUpperCase() ? part.toLowerCase() : part))
    .map((part, index) => {
      const first = part.charAt(0);
      return (index === 0 ? first.toLowerCase() : first.toUpperCase()) + part.slice(1);
    })
    .join("");
}

function withoutData({ data: _data, stringData: _stringData, ...rest }: KubeObject): Values {
  return rest;
}

/** What is in a Secret comes from encrypted values. */
function secretData(key: string): string {
  return `data:
  {{- $data := include "kws.data" (dict "of" "${key}.secret" "values" .Values.${key}.secret) | fromJson }}
  {{- range $key, $value := $data.text }}
  {{ $key | quote }}: {{ $value | b64enc | quote }}
  {{- end }}
  {{- range $key, $value := $data.base64 }}
  {{ $key | quote }}: {{ $value | quote }}
  {{- end }}
`;
}

/** What has to be put over `base` to get `wanted`: null takes a key away, as Helm has it. */
export function overrides(base: Values, wanted: Values): Values {
  const result: Values = {};
  for (const [key, value] of Object.entries(wanted)) {
    const before = base[key];
    if (isDeepStrictEqual(before, value)) continue;
    result[key] = isMapping(before) && isMapping(value) ? overrides(before, value) : value;
  }
  for (const key of Object.keys(base)) if (!Object.hasOwn(wanted, key)) result[key] = null;
  return result;
}
