/**
 * Variables in Compose files: `$NAME`, `${NAME}`, and `${NAME:-default}` and its kin, which may hold further ones
 * (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md).
 */

export interface Interpolation {
  text: string;
  problems: Problem[];
}

export interface Problem {
  kind: "unset" | "required" | "syntax";
  /** The variable, or what cannot be understood. */
  name: string;
  /** What `${NAME:?message}` says. */
  message?: string;
}

export type Variables = (name: string) => string | undefined;

export function interpolate(source: string, variables: Variables): Interpolation {
  const problems: Problem[] = [];
  return { text: expand(source), problems };

  function expand(part: string): string {
    let result = "";
    for (let index = 0; index < part.length; index++) {
      const character = part.charAt(index);
      if (character !== "$") {
        result += character;
        continue;
      }
      const rest = part.slice(index + 1);
      const plain = /^[A-Za-z_][A-Za-z0-9_]*/.exec(rest)?.[0];
      const braced = rest.startsWith("{") ? closing(rest) : undefined;
      if (rest.startsWith("$")) {
        result += "$";
        index += 1;
      } else if (plain !== undefined) {
        result += valueOf(plain);
        index += plain.length;
      } else if (braced !== undefined) {
        result += inBraces(rest.slice(1, braced));
        index += braced + 1;
      } else {
        problems.push({ kind: "syntax", name: part.slice(index, index + 12) });
        result += character;
      }
    }
    return result;
  }

  function inBraces(content: string): string {
    const [, name, operator, rest = ""] =
      /^([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])([\s\S]*))?$/.exec(content) ?? [];
    if (name === undefined) {
      problems.push({ kind: "syntax", name: `\${${content}}` });
      return `\${${content}}`;
    }
    if (operator === undefined) return valueOf(name);
    const value = variables(name);
    const isSet = operator.startsWith(":") ? value !== undefined && value !== "" : value !== undefined;
    if (operator.endsWith("+")) return isSet ? expand(rest) : "";
    if (isSet) return value ?? "";
    if (operator.endsWith("-")) return expand(rest);
    problems.push({ kind: "required", name, message: expand(rest) });
    return "";
  }

  function valueOf(name: string): string {
    const value = variables(name);
    if (value === undefined) problems.push({ kind: "unset", name });
    return value ?? "";
  }
}

/** The index of the brace that closes the one that the text begins with. */
function closing(source: string): number | undefined {
  let depth = 0;
  for (let index = 0; index < source.length; index++) {
    if (source.charAt(index) === "{" && (index === 0 || source.charAt(index - 1) === "$")) depth++;
    else if (source.charAt(index) === "}" && --depth === 0) return index;
  }
  return undefined;
}
