/** Custom resources: a definition for every version that a CustomResourceDefinition serves. */
import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "@kws/kube/object";
import { applyDefaults, structuralSchema } from "../schema/index.ts";
import { hasRules } from "./expressions.ts";
import { compileJsonPath, JsonPathError } from "./jsonpath.ts";
import { list, textOf } from "./loose.ts";
import type { Column, Fields, ResourceDefinition } from "./resource.ts";
import { keepStatus } from "./simple.ts";
import { ageColumn, nameColumn, since } from "./table.ts";

type Cell = string | number | boolean | null;

/** One per served version, in the order of the CustomResourceDefinition. */
export function fromCustomResourceDefinition(crd: KubeObject): ResourceDefinition[] {
  return list(crd["spec"]?.versions)
    .filter((version) => version["served"] === true)
    .map((version) => fromVersion(crd["spec"], version));
}

function fromVersion(spec: Fields, version: Fields): ResourceDefinition {
  const names: Fields = spec["names"] ?? {};
  const { status, scale } = version["subresources"] ?? {};
  const hasStatus = status !== undefined && status !== null;
  const printed = printedColumns(version);
  const schema: object = version["schema"]?.openAPIV3Schema ?? {};
  return {
    group: spec["group"],
    version: version["name"],
    kind: names["kind"],
    resource: names["plural"],
    singular: names["singular"] || String(names["kind"]).toLowerCase(),
    shortNames: names["shortNames"] ?? [],
    categories: names["categories"] ?? [],
    namespaced: spec["scope"] === "Namespaced",
    hasStatus,
    ...(scale
      ? {
          scale: {
            specReplicas: scale.specReplicasPath,
            statusReplicas: scale.statusReplicasPath,
            labelSelector: scale.labelSelectorPath,
          },
        }
      : {}),
    ...(hasStatus
      ? {
          prepareForCreate(object: KubeObject) {
            delete object["status"];
          },
          prepareForUpdate(object: KubeObject, old: KubeObject) {
            keepStatus(object, old["status"]);
          },
        }
      : {}),
    ...conversionOf(spec),
    ...completion(schema),
    ...(hasRules(schema)
      ? {
          async checkExpressions(object: KubeObject, old?: KubeObject) {
            const { brokenRules } = await import("../cel/rules.ts");
            return brokenRules(schema, object, old);
          },
        }
      : {}),
    selectableFields: Object.fromEntries(
      list(version["selectableFields"]).map(({ jsonPath }) => {
        const read = readerOf(jsonPath);
        const text = (object: KubeObject) => textOf(read(object)[0]);
        return [String(jsonPath).replace(/^\./, ""), text];
      }),
    ),
    columns: [nameColumn, ...printed.map(({ column }) => column)],
    row: (object, now) => [object.metadata.name, ...printed.map(({ cell }) => cell(object, now))],
  };
}

function conversionOf(spec: Fields): Pick<ResourceDefinition, "conversion"> {
  const { strategy, webhook } = spec["conversion"] ?? {};
  if (strategy !== "Webhook" || !webhook?.clientConfig) return {};
  const storageVersion = String(list(spec["versions"]).find(({ storage }) => storage === true)?.["name"]);
  return { conversion: { client: webhook.clientConfig, storageVersion } };
}

/** Defaults count for objects too that were stored before there were any. */
function completion(schema: object): Pick<ResourceDefinition, "complete"> {
  if (!JSON.stringify(schema).includes('"default":')) return {};
  const shape = structuralSchema(schema);
  return {
    complete(object) {
      const completed = structuredClone(object);
      applyDefaults(shape, completed);
      return isDeepStrictEqual(completed, object) ? object : completed;
    },
  };
}

/** A stored definition has to be served whatever its paths are: one that cannot be read finds nothing. */
function readerOf(path: unknown): (object: unknown) => unknown[] {
  try {
    return compileJsonPath(String(path));
  } catch (error) {
    if (!(error instanceof JsonPathError)) throw error;
    return () => [];
  }
}

interface Printed {
  column: Column;
  cell: (object: KubeObject, now: number) => Cell;
}

function printedColumns(version: Fields): Printed[] {
  const given = list(version["additionalPrinterColumns"]);
  if (given.length === 0) {
    return [
      {
        column: { ...ageColumn, type: "date" },
        cell: (object, now) => since(object.metadata.creationTimestamp, now),
      },
    ];
  }
  return given.map((printer) => {
    const read = readerOf(printer["jsonPath"]);
    const column: Column = {
      name: printer["name"],
      type: printer["type"],
      ...(printer["format"] ? { format: printer["format"] as string } : {}),
      description:
        printer["description"] ||
        `Custom resource definition column (in JSONPath format): ${printer["jsonPath"]}`,
      priority: printer["priority"] ?? 0,
    };
    return { column, cell: (object, now) => cellOf(read(object), column.type, now) };
  });
}

/** As the upstream table convertor: nothing found is null, several values of a string column are joined. */
function cellOf(values: unknown[], type: Column["type"], now: number): Cell {
  if (values.length === 0) return null;
  const [value] = values;
  switch (type) {
    case "date":
      return typeof value === "string" ? since(value, now) : "<invalid>";
    case "integer":
      return typeof value === "number" ? Math.trunc(value) : null;
    case "number":
      return typeof value === "number" ? value : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    case "string":
      return values.length === 1 ? textOf(value) : `[${values.map(textOf).join(" ")}]`;
  }
}
