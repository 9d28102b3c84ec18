import { expect, test } from "vitest";
import { globExpression, parseIgnore } from "../ignore.ts";
import { parseDockerfile } from "./parse.ts";
import { WordError, expandWord, splitWords } from "./words.ts";

const values: Record<string, string> = { A: "one", EMPTY: "" };
const lookup = (name: string) => values[name];

test.each([
  ["$A-${A}", "one-one"],
  ["${A:-x}${NONE:-x}${EMPTY:-x}${EMPTY-x}", "onexx"],
  ["${A:+x}${NONE:+x}${EMPTY:+x}${EMPTY+x}", "xx"],
  ["${NONE:-${A}/y}", "one/y"],
  ["'$A' \"$A\" \\$A", "$A one $A"],
  ["a\\ b", "a b"],
  ["cost$", "cost$"],
])("%s becomes %s", (text, expected) => {
  expect(expandWord(text, "\\", lookup)).toBe(expected);
});

test.each(["${A", "${A#x}", "'open", '"open', "${NONE:?is needed}"])("%s is a fault", (text) => {
  expect(() => expandWord(text, "\\", lookup)).toThrow(WordError);
});

test("words are separated outside of quotes alone", () => {
  expect(splitWords(`a="x y" 'b c' d\\ e`, "\\")).toEqual(["a=x y", "b c", "d e"]);
});

test("continued lines, comments between them, flags and the exec form are read", () => {
  const { stages } = parseDockerfile(
    [
      "# syntax=docker/dockerfile:1",
      "FROM scratch AS One",
      "RUN --mount=type=cache,target=/c a \\",
      "  # a comment",
      "",
      "  && b",
      'COPY ["a b", "/c/"]',
      "COPY <<EOF /etc/x",
      "line # no comment",
      "EOF",
      "CMD [not json]",
    ].join("\n"),
    "Dockerfile",
  );
  const [run, copy, heredoc, cmd] = stages[0]?.instructions ?? [];
  expect(stages[0]?.name).toBe("one");
  expect(run?.text.replaceAll(/\s+/g, " ")).toBe("a && b");
  expect(run?.flags).toEqual([{ name: "mount", value: "type=cache,target=/c" }]);
  expect(copy?.json).toEqual(["a b", "/c/"]);
  expect(copy?.at).toBe("Dockerfile:7:1");
  expect(heredoc?.heredocs).toEqual([{ name: "EOF", content: "line # no comment\n", expand: true }]);
  expect(cmd?.json).toBeUndefined();
});

test.each([
  ["FRUM x", "Dockerfile:1:1", "unknown instruction FRUM"],
  ["RUN x", "Dockerfile:1:1", "before the first FROM"],
  ["", "Dockerfile:1:1", "no FROM"],
  ["FROM a AS", "Dockerfile:1:1", "FROM takes an image"],
  ["FROM a AS x\nFROM b AS x", "Dockerfile:2:1", "two stages"],
  ["FROM a\n  COPY", "Dockerfile:2:3", "COPY needs an argument"],
])("%j is refused at its place", (text, at, message) => {
  expect(() => parseDockerfile(text, "Dockerfile")).toThrow(
    expect.objectContaining({ at, code: "config", message: expect.stringContaining(message) }),
  );
});

test("ignore rules take the last match, and bring back what an exception names", () => {
  const rules = parseIgnore("# comment\n*.md\n!README.md\n/dist/\n**/tmp\nsrc/**/*.test.js\n");
  const ignored = (path: string) => rules.ignored(path);
  expect(
    ["a.md", "dist", "dist/x", "tmp", "a/b/tmp/c", "src/a/b.test.js", "src/b.test.js"].every(ignored),
  ).toBe(true);
  expect(["README.md", "sub/a.md", "src/a.js", "mydist", "tmpx"].some(ignored)).toBe(false);
});

test("a glob's star stays inside a path component", () => {
  expect(globExpression("a/*.js").test("a/b.js")).toBe(true);
  expect(globExpression("a/*.js").test("a/b/c.js")).toBe(false);
  expect(globExpression("[a-c]?").test("bx")).toBe(true);
  expect(globExpression("a.b").test("axb")).toBe(false);
});
