/**
 * Files of environment variables as Compose reads them: `.env`, and those of `env_file`. `NAME=value` lines, `export` before
 * them, comments, quotes, and values of several lines in quotes. Only what is not in single quotes has variables.
 */
import { interpolate, type Problem, type Variables } from "./interpolate.ts";

export interface EnvFile {
  /** A name without `=` takes the value of the environment: undefined. */
  values: Map<string, string | undefined>;
  problems: Problem[];
}

/** `raw` takes values as they stand, without quotes, comments or variables, as `format: raw` does. */
export function parseEnvFile(content: string, variables: Variables, raw = false): EnvFile {
  const values = new Map<string, string | undefined>();
  const problems: Problem[] = [];
  const known: Variables = (name) => variables(name) ?? values.get(name);
  const source = content.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  const line =
    /^[ \t]*(?:export[ \t]+)?([^\s=:#]+)(?:[ \t]*(?:=|:[ \t])[ \t]*('(?:[^'\\]|\\.)*'(?=[ \t]*(?:#|$))|"(?:[^"\\]|\\.)*"(?=[ \t]*(?:#|$))|[^\n]*))?[^\n]*$/gm;
  for (const [whole, name = "", given] of source.matchAll(
    raw ? /^[ \t]*([^\s=#]+)(?:=([^\n]*))?$/gm : line,
  )) {
    if (whole.trim() === "") continue;
    values.set(name, given === undefined ? undefined : raw ? given : valueOf(given));
  }
  return { values, problems };

  function valueOf(given: string): string {
    if (given.startsWith("'") && given.endsWith("'") && given.length > 1)
      return given.slice(1, -1).replaceAll("\\'", "'");
    const quoted = given.startsWith('"') && given.endsWith('"') && given.length > 1;
    const bare = quoted ? unescape(given.slice(1, -1)) : given.replace(/(^|[ \t]+)#.*$/, "").trimEnd();
    const expanded = interpolate(bare, known);
    problems.push(...expanded.problems);
    return expanded.text;
  }
}

function unescape(quoted: string): string {
  const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  return quoted.replaceAll(/\\([\s\S])/g, (whole, next: string) =>
    next === "$" ? "$$" : (escapes[next] ?? (/["\\]/.test(next) ? next : whole)),
  );
}
