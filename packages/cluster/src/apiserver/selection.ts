/** `labelSelector` and `fieldSelector` of a request as one predicate. */
import { matches, parseSelector, SelectorError, type Requirement } from "@kws/kube/selector";
import type { KubeObject } from "@kws/kube/object";
import { badRequest } from "./failures.ts";
import { inVersion } from "./registry.ts";
import type { ResourceDefinition } from "./resources/resource.ts";

export interface Selection {
  /** Everything is selected. */
  all: boolean;
  /** The only name that can match, where the field selector says so. */
  name?: string;
  /** Of an object as it is stored. */
  selects(object: KubeObject): boolean;
}

interface FieldRequirement {
  read: (object: KubeObject) => string;
  equal: boolean;
  value: string;
}

export function selectionOf(definition: ResourceDefinition, query: URLSearchParams): Selection {
  const labels = parseLabels(query.get("labelSelector") ?? "");
  const fields = parseFields(definition, query.get("fieldSelector") ?? "");
  const byName = fields.find(({ equal, read }) => equal && read === nameOf);
  return {
    all: labels.length === 0 && fields.length === 0,
    name: byName?.value,
    selects: (stored) => {
      const object = fields.length === 0 ? stored : inVersion(definition, stored);
      return (
        fields.every(({ read, equal, value }) => (read(object) === value) === equal) &&
        (labels.length === 0 || matches(labels, object.metadata.labels))
      );
    },
  };
}

function parseLabels(text: string): Requirement[] {
  try {
    return parseSelector(text);
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(`unable to parse requirement: ${error.message}`);
    throw error;
  }
}

const nameOf = (object: KubeObject): string => object.metadata.name;
const namespaceOf = (object: KubeObject): string => object.metadata.namespace ?? "";

function parseFields(definition: ResourceDefinition, text: string): FieldRequirement[] {
  return splitTerms(text).map((term) => {
    const match = /^(?<path>[^=!]+)(?<operator>!=|==|=)(?<value>.*)$/s.exec(term);
    const { path = "", operator, value = "" } = match?.groups ?? {};
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const read =
      path === "metadata.name"
        ? nameOf
        : path === "metadata.namespace"
          ? namespaceOf
          : ownProperty(definition.selectableFields, path);
    if (read === undefined) throw badRequest(`field label not supported: ${path}`);
    return { read, equal: operator !== "!=", value: value.replaceAll(/\\(.)/gs, "$1") };
  });
}

function ownProperty<T>(record: Record<string, T> | undefined, key: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}

/** At commas that no backslash protects. */
function splitTerms(text: string): string[] {
  return (text.match(/(?:\\.|[^,\\])+/gs) ?? []).filter((term) => term.trim() !== "");
}
