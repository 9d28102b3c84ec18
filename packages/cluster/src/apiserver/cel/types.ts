/** The types of expressions' variables from shapes of kinds, so that an expression about what is not there is found early. */
import type { Environment } from "@marcbachmann/cel-js";
import type { TypeSchema } from "../schema/types.ts";
import { escapeName } from "./values.ts";

/** Adds the types of a shape, and of all that it holds, to `within`; answers the name of its own. */
export function declareType(within: Environment, shape: TypeSchema): string {
  const names = new Map<TypeSchema, string>();
  const nameOf = (one: TypeSchema): string => {
    switch (one.type) {
      case "boolean":
        return "bool";
      case "integer":
        return "int";
      case "number":
        return "double";
      case "string":
        return stringTypes[one.format ?? ""] ?? "string";
      case "list":
        return `list<${nameOf(one.items)}>`;
      case "map":
        return `map<string, ${nameOf(one.values)}>`;
      case "any":
        return "dyn";
      case "object":
        return objectName(one);
    }
  };
  const objectName = (one: TypeSchema & { type: "object" }): string => {
    if (one.fields.size === 0 || one.rest !== undefined) return "dyn";
    const known = names.get(one);
    if (known !== undefined) return known;
    // A shape that holds itself is known from its first level only.
    names.set(one, "dyn");
    const name = `Object.Of${names.size}`;
    const fields = Object.fromEntries(
      [...one.fields].map(([field, { schema }]) => [escapeName(field), nameOf(schema)]),
    );
    within.registerType(name, { fields });
    names.set(one, name);
    return name;
  };
  return nameOf(shape);
}

const stringTypes: Record<string, string> = {
  "int-or-string": "dyn",
  "date-time": "google.protobuf.Timestamp",
  date: "google.protobuf.Timestamp",
  duration: "google.protobuf.Duration",
  byte: "bytes",
};
