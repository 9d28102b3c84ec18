import { expect, test } from "vitest";
import { splitWords } from "./shellwords.ts";

test.each([
  ["", []],
  ["  op read  'op://vault/key file' ", ["op", "read", "op://vault/key file"]],
  [`a"b c"'d e' ""`, ["ab cd e", ""]],
  [String.raw`a\ b "c\"d" "e\f" 'g\h'`, ["a b", 'c"d', String.raw`e\f`, String.raw`g\h`]],
  ["$HOME ~ `id` a;b", ["$HOME", "~", "`id`", "a;b"]],
])("%j is split as a shell would, and nothing is expanded", (text, words) => {
  expect(splitWords(text)).toEqual(words);
});

test.each(["'a", '"a', `"a'`])("%j has a quote that is not closed", (text) => {
  expect(() => splitWords(text)).toThrow("is not closed");
});
