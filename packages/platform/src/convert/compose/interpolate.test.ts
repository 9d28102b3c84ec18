import { expect, test } from "vitest";
import { interpolate } from "./interpolate.ts";

const variables = (name: string): string | undefined => ({ SET: "value", EMPTY: "", OTHER: "other" })[name];

test.each([
  ["$SET ${SET}", "value value"],
  ["${EMPTY:-default} ${EMPTY-default} ${UNSET-default}", "default  default"],
  ["${UNSET:-${EMPTY:-${SET}}}", "value"],
  ["${SET:+given} ${EMPTY:+given} ${EMPTY+given}", "given  given"],
  ["${SET:?needed}", "value"],
  ["${UNSET:-a}b}", "ab}"],
  ["$$SET $${SET} costs 5$$", "$SET ${SET} costs 5$"],
  ["${UNSET:-http://host:80/?a=b}", "http://host:80/?a=b"],
])("%s becomes %s", (source, expected) => {
  expect(interpolate(source, variables)).toEqual({ text: expected, problems: [] });
});

test.each([
  ["$UNSET", { kind: "unset", name: "UNSET" }],
  ["${EMPTY:?say why $OTHER}", { kind: "required", name: "EMPTY", message: "say why other" }],
  ["${not closed", { kind: "syntax", name: "${not closed" }],
  ["${1}", { kind: "syntax", name: "${1}" }],
])("%s is told", (source, problem) => {
  expect(interpolate(source, variables).problems).toEqual([problem]);
});
