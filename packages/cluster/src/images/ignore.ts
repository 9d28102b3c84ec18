/** Which paths of a build context `.dockerignore` leaves out (https://docs.docker.com/build/concepts/context/#dockerignore-files). */

interface Rule {
  expression: RegExp;
  include: boolean;
}

export interface IgnoreRules {
  /** True where the path (relative, with slashes) is left out. A path under one that is left out is left out too. */
  ignored(path: string): boolean;
  /** False where a directory that is left out need not be looked into, since no `!` rule can bring its content back. */
  hasExceptions: boolean;
}

/** Go's filepath.Match, with `**` for any number of directories. */
export function globExpression(pattern: string): RegExp {
  return new RegExp(`^${globSource(pattern)}$`, "s");
}

function globSource(pattern: string): string {
  let source = "";
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] ?? "";
    if (char === "*" && pattern[at + 1] === "*") {
      at += 1;
      if (pattern[at + 1] === "/") {
        at += 1;
        source += "(?:.*/)?";
      } else {
        source += ".*";
      }
    } else if (char === "*") source += "[^/]*";
    else if (char === "?") source += "[^/]";
    else if (char === "[") {
      const end = pattern.indexOf("]", at + 2);
      if (end === -1) source += "\\[";
      else {
        const set = pattern.slice(at + 1, end).replaceAll("\\", "\\\\");
        source += `[${set}]`;
        at = end;
      }
    } else if (char === "\\" && at + 1 < pattern.length) {
      at += 1;
      source += escaped(pattern[at] ?? "");
    } else source += escaped(char);
  }
  return source;
}

/** The last rule that matches a path or one of its parents decides. */
export function parseIgnore(content: string): IgnoreRules {
  const rules: Rule[] = [];
  for (const line of content.replace(/^\uFEFF/, "").split(/\r?\n/)) {
    const trimmed = line.trim();
    if (trimmed === "" || line.startsWith("#")) continue;
    const include = trimmed.startsWith("!");
    const written = (include ? trimmed.slice(1).trim() : trimmed)
      .replace(/^(?:\.?\/)+/, "")
      .replace(/\/+$/, "");
    if (written === "" || written === ".") continue;
    rules.push({ expression: new RegExp(`^${globSource(written)}(?:/|$)`, "s"), include });
  }
  return {
    hasExceptions: rules.some((rule) => rule.include),
    ignored(path) {
      let ignored = false;
      for (const rule of rules) {
        if (rule.include === ignored && rule.expression.test(path)) ignored = !rule.include;
      }
      return ignored;
    },
  };
}

function escaped(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
}
