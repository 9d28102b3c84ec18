/**
 * `$(NAME)` references in env, command and args: `$$(NAME)` is a literal, unknown names stay as they are
 * (https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/).
 */
export function expand(text: string, values: Record<string, string>): string {
  return text.replaceAll(/\$(?:\$|\(([^()]*)\))/g, (reference, name: string | undefined) => {
    if (name === undefined) return "$";
    return Object.hasOwn(values, name) ? (values[name] ?? "") : reference;
  });
}

/** As `expand`, for `subPathExpr`, where an unknown name is an error. */
export function expandStrictly(text: string, values: Record<string, string>): string {
  const missing: string[] = [];
  const result = text.replaceAll(/\$(?:\$|\(([^()]*)\))/g, (reference, name: string | undefined) => {
    if (name === undefined) return "$";
    if (Object.hasOwn(values, name)) return values[name] ?? "";
    missing.push(name);
    return reference;
  });
  if (missing.length > 0) throw new Error(`missing value for ${JSON.stringify(missing[0])}`);
  return result;
}
