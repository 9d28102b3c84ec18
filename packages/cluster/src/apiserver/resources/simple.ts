/** The parts of a definition that most kinds share, so that each kind's file says only what is its own. */
import type { ResourceDefinition } from "./resource.ts";
import { createdAtColumn, nameColumn } from "./table.ts";

type Identity = Pick<ResourceDefinition, "group" | "kind" | "resource"> &
  Partial<Pick<ResourceDefinition, "version" | "namespaced" | "singular">>;

/** Version v1, namespaced, without status, with the columns Name and Created At, unless `own` says otherwise. */
export function define(
  identity: Identity,
  own: Partial<Omit<ResourceDefinition, keyof Identity>> = {},
): ResourceDefinition {
  return {
    version: "v1",
    singular: identity.kind.toLowerCase(),
    namespaced: true,
    shortNames: [],
    categories: [],
    hasStatus: false,
    columns: [nameColumn, createdAtColumn],
    row: (object) => [object.metadata.name, object.metadata.creationTimestamp ?? "<unknown>"],
    ...statusStrategy(own),
    ...identity,
    ...own,
  };
}

/** With a status subresource, a create drops status and an update of the object keeps the old one. */
function statusStrategy(own: Partial<ResourceDefinition>): Partial<ResourceDefinition> {
  if (own.hasStatus !== true) return {};
  return {
    prepareForCreate(object) {
      delete object["status"];
    },
    prepareForUpdate(object, old) {
      keepStatus(object, old["status"]);
    },
  };
}

export function keepStatus(object: Record<string, unknown>, status: unknown): void {
  if (status === undefined) delete object["status"];
  else object["status"] = status;
}
