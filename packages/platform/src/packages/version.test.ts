import { expect, test } from "vitest";
import { compareVersions, developmentVersion, dirtied, isDirty, isVersion, tagOf } from "./version.ts";

const commit = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
const at = (tag: string | undefined, distance: number, dirty = false) =>
  developmentVersion({ commit, tag, distance, dirty }, "0.4.0");

test("a tagged commit has the tag's version", () => {
  expect(at("1.2.3", 0)).toBe("1.2.3");
  expect(at("2.0.0-rc.1", 0)).toBe("2.0.0-rc.1");
});

test("a commit after a tag sorts between that tag and the next", () => {
  expect(at("1.2.3", 5)).toBe("1.2.4-dev.5+g0a1b2c3");
  expect(at("2.0.0-rc.1", 5)).toBe("2.0.0-rc.1.dev.5+g0a1b2c3");
  for (const [before, between, after] of [
    ["1.2.3", at("1.2.3", 5), "1.2.4"],
    ["2.0.0-rc.1", at("2.0.0-rc.1", 5), "2.0.0-rc.2"],
    [at("1.2.3", 9), at("1.2.3", 10), "1.2.4"],
  ] as const) {
    expect(compareVersions(before, between)).toBe(-1);
    expect(compareVersions(between, after)).toBe(-1);
  }
});

test("without a tag the chart's version is the one to come", () => {
  expect(at(undefined, 12)).toBe("0.4.0-dev.12+g0a1b2c3");
  expect(compareVersions(at(undefined, 12), "0.4.0")).toBe(-1);
});

test("what is not committed shows in the version, on a tag too", () => {
  expect(at("1.2.3", 0, true)).toBe("1.2.4-dev.0+g0a1b2c3-dirty");
  expect(dirtied("1.2.3", commit)).toBe("1.2.3+g0a1b2c3-dirty");
  expect(dirtied("1.2.3+build.7", commit)).toBe("1.2.3+build.7.g0a1b2c3-dirty");
  expect([at("1.2.3", 5, true), dirtied("1.2.3", commit)].every(isDirty)).toBe(true);
  expect([at("1.2.3", 5), "1.2.3-dirty"].some(isDirty)).toBe(false);
});

test("versions are ordered as semver.org orders its own examples", () => {
  const ordered =
    "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 2.0.0 2.1.0 2.1.1".split(
      " ",
    );
  expect(ordered.toReversed().toSorted(compareVersions)).toEqual(ordered);
  expect(compareVersions("1.0.0+a", "1.0.0+b")).toBe(0);
});

test("a version becomes a tag as Helm makes one", () => {
  expect(tagOf("1.2.4-dev.5+g0a1b2c3")).toBe("1.2.4-dev.5_g0a1b2c3");
});

test("what is not SemVer is no version", () => {
  expect(["1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3+", "1.2.3 "].filter(isVersion)).toEqual([]);
  expect(() => developmentVersion({ commit, tag: undefined, distance: 1, dirty: false }, "one")).toThrow(
    '"one" is not a version',
  );
});
