/**
 * Reads the struct declarations of Kubernetes' `types.go` files: field names, Go types, struct tags, markers in comments.
 * It knows the subset of Go that those files use, nothing more.
 */

export interface GoField {
  /** Empty for an embedded struct. */
  name: string;
  /** As written: `*int32`, `[]Container`, `map[string]string`, `metav1.ObjectMeta`. */
  type: string;
  json: { name: string; omitempty: boolean; inline: boolean };
  /** Field number; undefined when the field is not part of the wire format. */
  number: number | undefined;
  patchStrategy: string | undefined;
  patchMergeKey: string | undefined;
  markers: Map<string, string[]>;
  description: string;
}

export interface GoType {
  name: string;
  /** The aliased type for `type Verbs []string`; undefined for a struct. */
  alias: string | undefined;
  fields: GoField[];
  /** Has an embedded `TypeMeta`. */
  isKind: boolean;
  markers: Map<string, string[]>;
  description: string;
  /** Import names to import paths, of the file it stands in. */
  imports: Map<string, string>;
}

export function parseGo(text: string): GoType[] {
  const imports = parseImports(text);
  const types: GoType[] = [];
  let comments: string[] = [];
  let current: GoType | undefined;
  for (const line of text.split("\n")) {
    const trimmed = line.trim();
    if (trimmed.startsWith("//")) {
      comments.push(trimmed.replace(/^\/\/ ?/, ""));
      continue;
    }
    if (current !== undefined) {
      if (line.startsWith("}")) {
        current = undefined;
      } else if (trimmed !== "") {
        addField(current, trimmed, comments);
      } else if (isDetached(comments)) {
        continue;
      }
      comments = [];
      continue;
    }
    const struct = /^type (\w+) struct ?\{(\})?$/.exec(line);
    const alias = /^type (\w+) ([^{]+)$/.exec(line);
    const name = struct?.[1] ?? alias?.[1];
    if (name !== undefined) {
      const { markers, description } = readComments(comments);
      const type: GoType = {
        name,
        alias: alias?.[2]?.replace(/\s*\/\/.*$/, "").trim(),
        fields: [],
        isKind: false,
        markers,
        description,
        imports,
      };
      types.push(type);
      if (struct !== null && struct[2] === undefined) current = type;
    }
    // Markers of a type may be set off from its description by a blank line.
    if (trimmed !== "" || !comments.some((comment) => comment.startsWith("+"))) comments = [];
  }
  return types;
}

/** A field's markers may be followed by a blank line before the rest of its comment. */
function isDetached(comments: string[]): boolean {
  return comments.length > 0 && comments.every((comment) => comment.startsWith("+"));
}

function parseImports(text: string): Map<string, string> {
  const imports = new Map<string, string>();
  const block = /^import \(([\s\S]*?)^\)/m.exec(text)?.[1] ?? "";
  for (const match of block.matchAll(/^\s*(\w+)?\s*"([^"]+)"/gm)) {
    const path = match[2] ?? "";
    imports.set(match[1] ?? path.slice(path.lastIndexOf("/") + 1), path);
  }
  return imports;
}

function addField(type: GoType, line: string, comments: string[]): void {
  const match = /^(?:(\w+)\s+)?(\S+)\s+`([^`]*)`/.exec(line);
  if (match === null) return;
  const tags = new Map(
    [...(match[3] ?? "").matchAll(/(\w+):"([^"]*)"/g)].map((tag) => [tag[1], tag[2] ?? ""]),
  );
  const [jsonName = "", ...options] = (tags.get("json") ?? "").split(",");
  if (jsonName === "-") return;
  if (/(^|\.)TypeMeta$/.test(match[2] ?? "")) {
    type.isKind = true;
    return;
  }
  const number = /(?:^|,)(\d+)(?:,|$)/.exec(tags.get("protobuf") ?? "")?.[1];
  const { markers, description } = readComments(comments);
  type.fields.push({
    name: match[1] ?? "",
    type: match[2] ?? "",
    json: {
      name: jsonName,
      omitempty: options.includes("omitempty") || options.includes("omitzero"),
      inline: options.includes("inline") || (jsonName === "" && match[1] === undefined),
    },
    number: number === undefined ? undefined : Number(number),
    patchStrategy: tags.get("patchStrategy"),
    patchMergeKey: tags.get("patchMergeKey"),
    markers,
    description,
  });
}

function readComments(comments: string[]): { markers: Map<string, string[]>; description: string } {
  const markers = new Map<string, string[]>();
  const text: string[] = [];
  let internal = false;
  for (const comment of comments) {
    const marker = /^\+([\w:.-]+)(?:=(.*))?$/.exec(comment.trim());
    // What follows `---` is for readers of the source, except markers.
    if (comment.trim() === "---") internal = true;
    if (marker === null) {
      if (!internal && !comment.trim().startsWith("+") && !comment.startsWith("TODO"))
        text.push(comment.trim());
    } else {
      const key = marker[1] ?? "";
      markers.set(key, [...(markers.get(key) ?? []), (marker[2] ?? "").trim()]);
    }
  }
  // As the upstream OpenAPI generator: lines of a paragraph join with a space, an empty line separates paragraphs.
  const description = text
    .join("\n")
    .split(/\n{2,}/)
    .map((paragraph) => paragraph.replace(/\n(?!\s*[-*])/g, " ").trim())
    .filter((paragraph) => paragraph !== "")
    .join("\n\n");
  return { markers, description };
}
