import { expect, test } from "vitest";
import { seal, unseal } from "./seal.ts";

const [key, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];

test("a secret opens with its key, also while another is replacing it", () => {
  const sealed = seal("hunter2 ✓", "webhook/1", [key]);
  expect(sealed).not.toContain("hunter2");
  expect(unseal(sealed, "webhook/1", [key])).toBe("hunter2 ✓");
  expect(unseal(sealed, "webhook/1", [other, key])).toBe("hunter2 ✓");
});

test("the same secret is never sealed alike", () => {
  expect(seal("a", "webhook/1", [key])).not.toBe(seal("a", "webhook/1", [key]));
});

test.each([
  ["another key", (sealed: string) => unseal(sealed, "webhook/1", [other])],
  ["another place", (sealed: string) => unseal(sealed, "webhook/2", [key])],
  [
    "another byte",
    (sealed: string) =>
      unseal(
        sealed.replace(/.$/, (last) => (last === "A" ? "Q" : "A")),
        "webhook/1",
        [key],
      ),
  ],
  ["half of it", (sealed: string) => unseal(sealed.slice(0, 20), "webhook/1", [key])],
  ["no key", (sealed: string) => unseal(sealed, "webhook/1", [])],
])("with %s it does not open", (_case, open) => {
  expect(() => open(seal("hunter2", "webhook/1", [key]))).toThrow("sealed with another key");
});
