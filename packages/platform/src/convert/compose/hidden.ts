/**
 * Passwords that variables put into other texts. The model has marks in their places: in commands and health checks they become
 * references, a variable or a file that has one is a secret itself, and annotations cannot have one.
 */
import type { Variables } from "./interpolate.ts";
import { isSensitive } from "./sensitive.ts";

const [open, close] = ["\uE010", "\uE011"];
const mark = new RegExp(`${open}([^${close}]*)${close}`, "g");

/** Where marks are understood. */
export function mayHide(path: string): boolean {
  return (
    /^services\..+\.(command|entrypoint|healthcheck\.test|environment|labels|annotations)(\[\d+\])?$/.test(
      path,
    ) || /^services\..+\.(environment|labels|annotations)\.|^configs\..+\.content$/.test(path)
  );
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

/** The text with the values. */
export function reveal(source: string, variables: Variables): string {
  return source.replaceAll(mark, (_, name: string) => variables(name) ?? "");
}

/** The text with `$(NAME)` for the kubelet, which expands it in commands. */
export function forKubelet(source: string): string {
  return source.replaceAll("$(", "$$$$(").replaceAll(mark, "$($1)");
}

/** The text with `${NAME}` for a shell. */
export function forShell(source: string): string {
  return source.replaceAll("$(", "$$$$(").replaceAll(mark, "$${$1}");
}
