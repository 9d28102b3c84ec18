import { expect, test } from "vitest";
import { parseEnvFile } from "./env-file.ts";

const variables = (name: string): string | undefined => (name === "OUTER" ? "outer" : undefined);

test("values are read as Compose reads them", () => {
  const file = [
    "# a comment",
    "PLAIN=value # with a comment",
    "export EXPORTED=yes",
    "HASH=a#b",
    "SINGLE='$OUTER # stays'",
    'DOUBLE="one\\ntwo \\"$OUTER\\" ${PLAIN}"',
    'LINES="first',
    'second"',
    "SPACED =  around  ",
    "YAML: like",
    "EMPTY=",
    "PASSED",
    "EQUALS=a=b==",
    "",
  ].join("\r\n");
  expect(Object.fromEntries(parseEnvFile(file, variables).values)).toEqual({
    PLAIN: "value",
    EXPORTED: "yes",
    HASH: "a#b",
    SINGLE: "$OUTER # stays",
    DOUBLE: 'one\ntwo "outer" value',
    LINES: "first\nsecond",
    SPACED: "around",
    YAML: "like",
    EMPTY: "",
    PASSED: undefined,
    EQUALS: "a=b==",
  });
});

test("a raw file has no quotes, comments or variables", () => {
  const { values, problems } = parseEnvFile("A='$X' # no comment\nB\n", variables, true);
  expect(Object.fromEntries(values)).toEqual({ A: "'$X' # no comment", B: undefined });
  expect(problems).toEqual([]);
});

test("a variable that is not set is told", () => {
  expect(parseEnvFile("A=$MISSING\n", variables).problems).toEqual([{ kind: "unset", name: "MISSING" }]);
});
