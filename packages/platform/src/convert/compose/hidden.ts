/**
 * Passwords that variables put into commands and health checks: they stay references, so that the chart does not hold them. The
 * text of a model has marks in their places.
 */
import { isSensitive } from "./environment.ts";
import type { Variables } from "./interpolate.ts";

const [open, close] = ["\uE010", "\uE011"];
const mark = new RegExp(`${open}([^${close}]*)${close}`, "g");

/** Where a reference works: what the kubelet or a shell expands. */
export function mayHide(path: string): boolean {
  return /^services\..+\.(command|entrypoint|healthcheck\.test)(\[\d+\])?$/.test(path);
}

/** Marks instead of the values that are secrets. */
export function hiding(variables: Variables): Variables {
  return (name) => {
    const value = variables(name);
    return value !== undefined && isSensitive(name, value) ? `${open}${name}${close}` : value;
  };
}

/** The names of the variables that a text refers to by marks. */
export function hiddenIn(source: string): string[] {
  return [...source.matchAll(mark)].map(([, name = ""]) => name);
}

/** The text with `$(NAME)` for the kubelet, which expands it in commands. */
export function forKubelet(source: string): string {
  return source.replaceAll("$(", "$$$$(").replaceAll(mark, "$($1)");
}

/** The text with `${NAME}` for a shell. */
export function forShell(source: string): string {
  return source.replaceAll("$(", "$$$$(").replaceAll(mark, "$${$1}");
}
