import { expect, test } from "vitest";
import { choosePackages, pinnedBy, prunable } from "./prune.ts";
import type { StoredPackage } from "./store.ts";

const now = Date.parse("2026-03-10T00:00:00Z");

function stored(service: string, version: string, day: number, workspace = "shop"): StoredPackage {
  return {
    service,
    version,
    chart: `kws.local/${workspace}/charts/${service}:${version.replace("+", "_")}`,
    digest: `sha256:${service}-${version}`,
    images: [],
    revision: "",
    created: `2026-03-0${day}T00:00:00Z`,
    dirty: false,
  };
}

const all = [
  stored("api", "1.0.0", 1),
  stored("api", "1.1.0", 2),
  stored("api", "1.2.0+g1", 8),
  stored("web", "1.0.0", 1),
];
const versions = (packages: StoredPackage[]) =>
  packages.map(({ service, version }) => `${service} ${version}`);

test("the newest of each service stay, and the young", () => {
  const day = 24 * 3_600_000;
  expect(versions(prunable(all, { keep: 1, youngerMs: 0, now }))).toEqual(["api 1.1.0", "api 1.0.0"]);
  expect(versions(prunable(all, { keep: 0, youngerMs: 3 * day, now }))).toEqual([
    "api 1.1.0",
    "api 1.0.0",
    "web 1.0.0",
  ]);
});

test("packages are named by service, version or chart; a name that means several is refused", () => {
  expect(versions(choosePackages(all, ["api:1.2.0+g1", "web", "web:1.0.0"]))).toEqual([
    "api 1.2.0+g1",
    "web 1.0.0",
  ]);
  const [first] = all;
  expect(choosePackages(all, [first?.chart ?? ""])).toEqual([first]);
  expect(() => choosePackages(all, ["api:9.0.0"])).toThrow("no package api:9.0.0");
  const two = [...all, stored("web", "1.0.0", 1, "other")];
  expect(() => choosePackages(two, ["web"])).toThrow("several packages");
});

test("what is pinned is known by its digest, and what is deployed by its version", () => {
  const pinned = new Map([
    ["sha256:api-1.0.0", "in the manifest shop:1"],
    ["web@1.0.0", "deployed in the namespace qa"],
  ]);
  expect(all.map((one) => pinnedBy(pinned, one) !== undefined)).toEqual([true, false, false, true]);
});
