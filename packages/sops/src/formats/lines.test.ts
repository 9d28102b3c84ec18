import { describe, expect, it } from "vitest";
import { toPlain } from "../tree.ts";
import { dotenv } from "./dotenv.ts";
import { ini } from "./ini.ts";

describe("a dotenv file", () => {
  it("keeps blanks in keys and values, quotes and comments", () => {
    const text = '#no blank\n# one\nA =x\nB= y "z" # no comment\nA =again\nEMPTY=\nTEXT=a\\nb\n';
    expect(dotenv.emit(dotenv.parse(text, undefined), {})).toBe(text);
  });

  it("holds line breaks where `\\n` is written", () => {
    expect(toPlain(dotenv.parse("TEXT=a\\nb=c\n", undefined)[0]!)).toEqual({ TEXT: "a\nb=c" });
  });

  it("drops empty lines, as sops does", () => {
    expect(dotenv.emit(dotenv.parse("A=1\n\nB=2", undefined), {})).toBe("A=1\nB=2\n");
  });

  it("tells a line that is none", () => {
    expect(() => dotenv.parse("A=1\nexport B\n", "x.env")).toThrow(
      expect.objectContaining({ at: "x.env:2:1" }),
    );
  });

  it("holds nothing but single values", () => {
    const entries = [{ kind: "entry" as const, key: "A", value: { kind: "list" as const, items: [] } }];
    expect(() => dotenv.emit([{ kind: "map", entries }], {})).toThrow("A is no single value");
  });

  it("writes values that are no texts as sops does", () => {
    const values = [
      { kind: "int", value: 3 },
      { kind: "float", value: 3 },
      { kind: "bool", value: true },
    ] as const;
    const entries = values.map((value, index) => ({ kind: "entry" as const, key: `K${index}`, value }));
    expect(dotenv.emit([{ kind: "map", entries }], {})).toBe("K0=3\nK1=3.0\nK2=true\n");
  });
});

describe("an INI file", () => {
  it("comes back as go-ini writes it: signs aligned, comments above, quotes where they are needed", () => {
    const text = [
      "top = 1",
      "",
      "; of the section",
      "# of two lines",
      "[name]",
      "; of the key",
      "first    = a b",
      'lastName = " x "',
      'multi    = """a',
      'b"""',
      "semi     = `x;y`",
      "empty    = ",
      "",
      "[two]",
      "`a=b` = 1",
      "",
      "[two]",
      "c = 2",
      "",
    ].join("\n");
    expect(ini.emit(ini.parse(text, undefined), {})).toBe(text);
  });

  it("is read as go-ini reads it", () => {
    const text = "[a]\nb: 1\nc = 'x y' # behind\n\"d\" = one \\\n  two\n  e='\"'\n";
    expect(toPlain(ini.parse(text, undefined)[0]!)).toEqual({
      a: { b: "1", c: "x y", d: "one two", e: '"' },
    });
  });

  it("keeps what a comment is about", () => {
    const [document] = ini.parse("; section\n[a]\n; key\nb = 1\n", undefined);
    expect(document!.entries[0]).toMatchObject({
      key: "a",
      value: {
        entries: [
          { kind: "comment", text: "section" },
          { kind: "entry", key: "b" },
          { kind: "comment", text: "key" },
        ],
      },
    });
  });

  it.each([
    ["[a\nb = 1\n", "x.ini:1:1"],
    ["[a]\nb\n", "x.ini:2:1"],
    ['[a]\nb = """x\ny\n', "x.ini:2:1"],
    ["[]\n", "x.ini:1:1"],
    ["[a]\nb = 1\nb = 2\n", "x.ini:3:1"],
  ])("tells the line of %j", (text, at) => {
    expect(() => ini.parse(text, "x.ini")).toThrow(expect.objectContaining({ at }));
  });

  it("knows the place of every value", () => {
    const [document] = ini.parse("[a]\n  b =   x\n", undefined);
    expect(document).toMatchObject({
      entries: [{ value: { entries: [{ value: { at: { line: 2, column: 9 } } }] } }],
    });
  });
});
