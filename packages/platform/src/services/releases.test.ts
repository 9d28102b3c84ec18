import { expect, test } from "vitest";
import { type Release, releasesIn } from "./releases.ts";

const release = (service: string, namespace: string): Release => ({
  service,
  release: service,
  parts: [],
  stack: namespace,
  namespace,
  workspace: "shop",
  revision: 1,
  status: "deployed",
  fingerprint: "",
  version: "",
  profile: "",
  workloads: undefined,
  secret: "",
  updatedAt: "2026-01-01T00:00:00Z",
});

test("a namespace without a stack is told with those that have one", () => {
  const all = [release("orders", "shop"), release("orders", "qa"), release("web", "qa")];
  expect(releasesIn(all, undefined)).toBe(all);
  expect(releasesIn(all, "qa").map(({ service }) => service)).toEqual(["orders", "web"]);
  expect(() => releasesIn(all, "production")).toThrow(
    expect.objectContaining({
      code: "not-found",
      message: "no stack is installed in the namespace production",
      fix: "Name one that has some with -n: shop, qa; or leave out -n.",
    }),
  );
  expect(releasesIn([], "qa")).toEqual([]);
});
