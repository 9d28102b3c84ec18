/** YAML: several documents, comments kept, types resolved and text written as go-yaml does. */
import { emitDocuments } from "./yaml/emit.ts";
import { parseDocuments } from "./yaml/parse.ts";
import type { Format } from "./format.ts";

const defaultIndent = 4;

export const yaml: Format = {
  name: "yaml",
  layout: "nested",
  parse: parseDocuments,
  emit: (documents, { indent = defaultIndent }) => emitDocuments(documents, indent),
};
