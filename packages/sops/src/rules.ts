/**
 * Which values of a file are encrypted: one of six rules, tested against every key on the way to a value or against the
 * comments above it. Regular expressions are Go's (RE2), unanchored.
 */
import { RE2JS } from "re2js";
import { messageOf } from "@kws/base/errors";
import { SopsError } from "./errors.ts";

/** At most one of them; none is `unencrypted_suffix: _unencrypted`. Named as in `.sops.yaml` and in a file's metadata. */
export interface Selection {
  unencrypted_suffix?: string;
  encrypted_suffix?: string;
  unencrypted_regex?: string;
  encrypted_regex?: string;
  unencrypted_comment_regex?: string;
  encrypted_comment_regex?: string;
}

export const selectionNames = [
  "unencrypted_suffix",
  "encrypted_suffix",
  "unencrypted_regex",
  "encrypted_regex",
  "unencrypted_comment_regex",
  "encrypted_comment_regex",
] as const satisfies (keyof Selection)[];

/** What holds where nothing else is said. */
export const defaultSelection = { unencrypted_suffix: "_unencrypted" } as const satisfies Selection;

/** Where a value stands: the keys above it, and at each open level the comments since the last entry. */
export interface Surroundings {
  keys: readonly string[];
  comments: readonly (readonly string[])[];
  isComment: boolean;
}

/** The rule that is set, if any; several are an error. Empty texts count as not set. */
export function checkSelection(given: Selection, at?: string): Selection {
  const set = selectionNames.filter((name) => given[name] !== undefined && given[name] !== "");
  if (set.length > 1) {
    throw new SopsError(
      "errorConflictingParameters",
      `only one of ${set.join(" and ")} can be used in the same file`,
      { code: "config", at, fix: "Keep one of the two." },
    );
  }
  return Object.fromEntries(set.map((name) => [name, given[name]]));
}

/** Compiles a rule, a fault of an expression being told with the rule's name. */
export function selector(selection: Selection, at?: string): (value: Surroundings) => boolean {
  const rule = checkSelection(selection, at);
  const name = selectionNames.find((name) => rule[name] !== undefined) ?? "unencrypted_suffix";
  const text = rule[name] ?? defaultSelection.unencrypted_suffix;
  switch (name) {
    case "unencrypted_suffix":
      return ({ keys }) => !keys.some((key) => key.endsWith(text));
    case "encrypted_suffix":
      return ({ keys }) => keys.some((key) => key.endsWith(text));
    case "unencrypted_regex": {
      const matches = expression(text, name, at);
      return ({ keys }) => !keys.some(matches);
    }
    case "encrypted_regex": {
      const matches = expression(text, name, at);
      return ({ keys }) => keys.some(matches);
    }
    case "unencrypted_comment_regex": {
      const matches = expression(text, name, at);
      return ({ comments }) => !comments.some((level) => level.some(matches));
    }
    case "encrypted_comment_regex": {
      const matches = expression(text, name, at);
      // The comment that turns encryption on stays readable: of a comment, the last one of its level is itself.
      return ({ comments, isComment }) =>
        comments.some((level, depth) =>
          (isComment && depth === comments.length - 1 ? level.slice(0, -1) : level).some(matches),
        );
    }
  }
}

/** A test for a Go regular expression, remembered per text: keys repeat. */
export function expression(text: string, name: string, at?: string): (value: string) => boolean {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(text);
  } catch (error) {
    throw new SopsError("errorReadingConfig", `${name} is no regular expression: ${messageOf(error)}`, {
      code: "config",
      at,
      fix: "The syntax is Go's: https://pkg.go.dev/regexp/syntax.",
      cause: error,
    });
  }
  const known = new Map<string, boolean>();
  return (value) => {
    let result = known.get(value);
    if (result === undefined) known.set(value, (result = compiled.matcher(value).find()));
    return result;
  };
}
