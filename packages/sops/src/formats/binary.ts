/** Anything else: the whole content is one value, `data`, of a JSON file. */
import { SopsError } from "../errors.ts";
import { entryOf, strOfBytes, type MapNode } from "../tree.ts";

export function wrapBinary(content: Uint8Array): MapNode {
  return { kind: "map", entries: [{ kind: "entry", key: "data", value: strOfBytes(content) }] };
}

export function unwrapBinary(documents: readonly MapNode[]): Uint8Array {
  const data = documents[0] && entryOf(documents[0], "data")?.value;
  if (data?.kind === "bytes") return data.value;
  if (data?.kind === "str") return Buffer.from(data.value);
  throw new SopsError("errorDumpingTree", "a binary file has to hold one text named data", {
    fix: "The file may have another format: name it.",
  });
}
