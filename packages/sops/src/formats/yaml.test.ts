import { describe, expect, it } from "vitest";
import type { SopsError } from "../errors.ts";
import { str, type Comment, type MapNode, type TreeNode } from "../tree.ts";
import { yaml } from "./yaml.ts";

function again(text: string): string {
  return yaml.emit(yaml.parse(text, undefined), {});
}

/** The comments of a tree with the keys of what they are in. */
function containers(text: string): string[] {
  const found: string[] = [];
  const visit = (node: TreeNode | Comment, keys: string[]): void => {
    if (node.kind === "comment") found.push(`${keys.join(".")}:${node.text}`);
    else if (node.kind === "list") for (const item of node.items) visit(item, keys);
    else if (node.kind === "map") {
      for (const entry of node.entries) {
        if (entry.kind === "comment") visit(entry, keys);
        else visit(entry.value, [...keys, entry.key]);
      }
    }
  };
  for (const document of yaml.parse(text, undefined)) visit(document, []);
  return found;
}

function failure(text: string): SopsError {
  try {
    yaml.parse(text, "x.yaml");
  } catch (error) {
    return error as SopsError;
  }
  return expect.fail("it was read");
}

describe("comments", () => {
  it.each([
    ["above the first key, with and without blank lines", "# one\n\n# two\na: 1\n", [": one", ": two"]],
    ["behind a value", "a:\n  b: 1 # one\n", ["a: one"]],
    ["behind a key", "a: # one\n  b: 1\n", [": one"]],
    ["above the first key of a map", "a:\n  # one\n  b: 1\n", ["a: one"]],
    ["below the last key of a map, then dedented", "a:\n  b: 1\n  # one\nc: 2\n", ["a: one"]],
    ["dedented, above the next key", "a:\n  b: 1\n# one\nc: 2\n", [": one"]],
    ["dedented, before a blank line", "a:\n  b: 1\n# one\n\nc: 2\n", [": one"]],
    ["below a blank line, still indented", "a:\n  b: 1\n\n  # one\nc: 2\n", ["a: one"]],
    ["between the levels", "a:\n    b: 1\n  # one\nc: 2\n", ["a: one"]],
    ["of two levels below another", "a:\n  b: 1\n  # one\n# two\nc: 2\n", ["a: one", ": two"]],
    ["at the end of the file", "a:\n  b: 1\n# one\n", [": one"]],
    ["at the end of the file, indented", "a:\n  b: 1\n  # one\n", ["a: one"]],
    ["above items", "a:\n  # one\n  - 1\n  # two\n  - b: 2 # three\n", ["a: one", "a: two", "a: three"]],
    ["behind a collection in brackets", "a: [1] # one\nb: 2\n", ["a: one"]],
    [
      "inside of brackets",
      "a: [\n  1, # one\n  # two\n  2\n  # three\n]\n",
      ["a: one", "a: two", "a: three"],
    ],
    ["behind the sign of a block of text", "a: | # one\n  text\n# two\nb: 1\n", [": one", ": two"]],
    ["after a marker", "--- # one\na: 1\n", [": one"]],
    ["at the end of a document", "a: 1\n# one\n---\n# two\nb: 2\n", [": one", ": two"]],
    [
      "deep inside",
      "a:\n  b:\n    c:\n      d: 1\n      # one\n    # two\ne: 1\n",
      ["a.b.c: one", "a.b: two"],
    ],
  ])("%s belong to what go-yaml gives them to", (_, text, expected) => {
    expect(containers(text)).toEqual(expected);
  });

  it("stay where they are when a file is written again", () => {
    const text =
      "# top\na: 1 # behind\nb:\n    # first\n    c: 2\n    # last\nlist:\n    # item\n    - x # tail\n    - z\n    # end\n";
    expect(again(text)).toBe(text);
  });

  it("of a map that ends with a block are kept apart from that block", () => {
    const text =
      "a:\n    b:\n        c:\n            d: 1\n        # of b\n\n    # of a\n\ne: 1\n# of the file\n";
    expect(again(text)).toBe(text);
    expect(containers(text)).toEqual(["a.b: of b", "a: of a", ": of the file"]);
  });

  it.each(["a: {\n    # only\n    }\nb: 1\n", "# only\n{}\n---\na: 1\n"])(
    "stay inside of what holds nothing else: %j",
    (text) => {
      expect(again(text)).toBe(text);
      expect(containers(again(text))).toEqual(containers(text));
    },
  );
});

describe("text", () => {
  it.each([
    ["plain", "a: hello world\n"],
    ["with a colon", "a: 'x: y'\n"],
    ["with a comment sign", "a: 'x #y'\n"],
    ["that begins with a sign", "a: '@x'\n"],
    ["with blanks around it", "a: ' x '\n"],
    ["that is a word of old YAML", 'a: "yes"\n'],
    ["that looks like a number", 'a: "0123"\n'],
    ["with a tab", 'a: "x\\ty"\n'],
    ["with an apostrophe", "a: '''x'' #'\n"],
    ["beyond the basic plane", 'a: "\\U0001F600"\n'],
    ["of several lines", "a: |-\n    one\n    two\n"],
    ["that ends with a line break", "a: |\n    one\n"],
    ["that ends with two", "a: |+\n    one\n\nb: 1\n"],
    ["of lines that begin with blanks", "a: |4-\n     one\n    two\n"],
    ["of lines that end with blanks", 'a: "one \\ntwo"\n'],
    ["in a list", "a:\n    - |-\n      one\n      two\n"],
    ["that is not UTF-8", "a: !!binary gP8=\n"],
    ["as a key that needs quotes", "\"on\": 1\n'a: b': 2\n"],
    ["as a long key", `? ${"k".repeat(200)}\n: 1\n`],
  ])("%s is written as go-yaml writes it", (_, text) => {
    expect(again(text)).toBe(text);
  });

  it.each([
    "- ",
    "---",
    "...",
    "a\rb",
    "\u0085",
    "\ufeffx",
    "é",
    "x:",
    "? y",
    "\u2028",
    "|",
    "\n",
    "\n\n",
    " \n",
    "a\n b\n",
  ])("%j is read back as it was", (value) => {
    const document: MapNode = {
      kind: "map",
      entries: [
        { kind: "entry", key: value === "" ? "k" : `k${value}`, value: str(value) },
        {
          kind: "entry",
          key: "list",
          value: { kind: "list", items: [str(value), { kind: "list", items: [str(value)] }] },
        },
      ],
    };
    const text = yaml.emit([document], {});
    expect(yaml.emit(yaml.parse(text, undefined), {})).toBe(text);
    const [read] = yaml.parse(text, undefined);
    expect(read).toMatchObject({ entries: [{ key: `k${value}`, value: { value } }, {}] });
  });
});

describe("structure", () => {
  it.each([
    [
      "lists of maps of lists",
      "a:\n    - b: 1\n      c:\n        - d: 1\n          e: 2\n    - - 1\n      - 2\n",
    ],
    ["empty collections", "a: {}\nb: []\nc:\n    - {}\n    - []\n"],
    ["several documents", "a: 1\n---\nb: 2\n"],
    ["an empty document", "{}\n---\nb: 2\n"],
  ])("%s come back as they were", (_, text) => {
    expect(again(text)).toBe(text);
  });

  it("follows the indent that is asked for", () => {
    const text = "a:\n  b:\n    - c: 1\n      d: 2\n";
    expect(yaml.emit(yaml.parse(text, undefined), { indent: 2 })).toBe(text);
  });

  it("holds what aliases stand for, and keeps merge keys as entries", () => {
    const text = "base: &b\n  x: 1\na: *b\nc:\n  <<: *b\n  y: 2\n";
    expect(again(text)).toBe('base:\n    x: 1\na:\n    x: 1\nc:\n    "<<":\n        x: 1\n    "y": 2\n');
  });

  it("knows the place of every value", () => {
    const [document] = yaml.parse("a: 1\nb:\n  - x\n  -   y\n", undefined);
    expect(document).toMatchObject({
      entries: [
        { at: { line: 1, column: 1 }, value: { at: { line: 1, column: 4 } } },
        { value: { items: [{ at: { line: 3, column: 5 } }, { at: { line: 4, column: 7 } }] } },
      ],
    });
  });
});

describe("what is refused, with its place", () => {
  it.each([
    ["a key given twice", "a: 1\nb: 2\na: 3\n", "x.yaml:3:1"],
    ["a key given twice in a later document", "a: 1\n---\nb: 1\nb: 2\n", "x.yaml:4:1"],
    ["a list at the top", "- 1\n", "x.yaml:1:1"],
    ["a text at the top", "hello\n", "x.yaml:1:1"],
    ["a key that is no text", "a: 1\n2: 3\n", "x.yaml:2:1"],
    ["an alias without anchor", "a: *b\n", "x.yaml:1:4"],
    ["an anchor that contains itself", "a: &b\n  c: *b\n", "x.yaml:2:6"],
    ["a number beyond 63 bits", "a: 18446744073709551615\n", "x.yaml:1:4"],
    ["a bracket that is not closed", "a: [1, 2\n", "x.yaml:2:1"],
    ["a value that does not fit its tag", "a: !!int x\n", "x.yaml:1:10"],
  ])("%s", (_, text, at) => {
    expect(failure(text).at).toBe(at);
  });

  it("aliases of aliases that would fill the memory", () => {
    const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
    for (let level = 1; level < 12; level++) {
      lines.push(
        `a${level}: &a${level} [${Array(10)
          .fill(`*a${level - 1}`)
          .join(", ")}]`,
      );
    }
    expect(failure(lines.join("\n")).message).toContain("aliases make the file grow");
  });

  it("more nesting than fits the stack", () => {
    expect(failure(`a: ${"[".repeat(20_000)}`).message).toContain("nested too deeply");
  });

  it("never repeats the content of the file", () => {
    expect(failure('password: "s3cret" s3cret\n').message).not.toContain("s3cret");
    expect(failure("password: *s3cret-value\n").message).toContain("anchor");
  });
});
