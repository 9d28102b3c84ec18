import { expect, test } from "vitest";
import { overlap, upperHalf } from "./network.ts";

test("pods get their addresses from the upper half of the engine's range", () => {
  expect(upperHalf("172.18.0.0/16")).toBe("172.18.128.0/17");
  expect(upperHalf("192.168.16.0/20")).toBe("192.168.24.0/21");
});

test("a range that holds the cluster's own addresses is refused, and no other", () => {
  expect(overlap("172.18.0.0/16")).toBeUndefined();
  expect(overlap("10.97.0.0/16")).toBeUndefined();
  for (const range of ["10.96.0.0/16", "10.0.0.0/8", "10.96.4.0/24", "10.244.0.0/16"])
    expect(overlap(range)).toMatchObject({ code: "config", message: expect.stringContaining(range) });
});
