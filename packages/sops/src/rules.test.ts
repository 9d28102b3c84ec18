import { describe, expect, it } from "vitest";
import { checkSelection, selector, type Selection, type Surroundings } from "./rules.ts";

function isSelected(selection: Selection, where: Partial<Surroundings>): boolean {
  return selector(selection)({ keys: [], comments: [[]], isComment: false, ...where });
}

describe("a rule", () => {
  it.each<[Selection, string[], boolean]>([
    [{}, ["a", "b"], true],
    [{}, ["a_unencrypted", "b"], false],
    [{ unencrypted_suffix: "_clear" }, ["a_unencrypted"], true],
    [{ unencrypted_suffix: "_clear" }, ["a", "b_clear"], false],
    [{ encrypted_suffix: "_secret" }, ["a_secret", "b"], true],
    [{ encrypted_suffix: "_secret" }, ["a"], false],
    [{ unencrypted_regex: "^(kind|metadata)$" }, ["metadata", "name"], false],
    [{ unencrypted_regex: "^(kind|metadata)$" }, ["data", "kinds"], true],
    [{ encrypted_regex: "(?i)pass" }, ["db", "myPASSword"], true],
    [{ encrypted_regex: "^data$" }, ["stringdata"], false],
  ])("%o decides about %j", (selection, keys, expected) => {
    expect(isSelected(selection, { keys })).toBe(expected);
  });

  it("about comments looks at those above at every open level", () => {
    const rule = { encrypted_comment_regex: "sops:enc" };
    expect(isSelected(rule, { comments: [[" sops:enc"], []] })).toBe(true);
    expect(isSelected(rule, { comments: [[], []] })).toBe(false);
    expect(isSelected({ unencrypted_comment_regex: "clear" }, { comments: [[" clear"], []] })).toBe(false);
  });

  it("about comments leaves the comment that turns encryption on readable, and encrypts the next", () => {
    const rule = { encrypted_comment_regex: "sops:enc" };
    expect(isSelected(rule, { comments: [[" sops:enc"]], isComment: true })).toBe(false);
    expect(isSelected(rule, { comments: [[" sops:enc", " next"]], isComment: true })).toBe(true);
  });

  it("is the only one", () => {
    const both = { encrypted_regex: "a", unencrypted_suffix: "_b" };
    expect(() => checkSelection(both, "x.yaml:1:1")).toThrow(
      "only one of unencrypted_suffix and encrypted_regex",
    );
  });

  it("with an expression that is none of Go's says so", () => {
    expect(() => selector({ encrypted_regex: "(?=ahead)" })).toThrow(
      "encrypted_regex is no regular expression",
    );
  });
});
