import { expect, test } from "vitest";
import { forHelm } from "./open.ts";

test("what JSON cannot say reaches Helm as text, and is not lost", () => {
  const values = { big: 2n ** 64n - 1n, list: [Infinity, NaN], bytes: new Uint8Array([0, 255]), plain: 1.5 };
  expect(forHelm(values)).toEqual({
    big: "18446744073709551615",
    list: ["Infinity", "NaN"],
    bytes: { base64: "AP8=" },
    plain: 1.5,
  });
});
