/**
 * The version of a package, from the history that its service stands in: a tag's own, or one that sorts between the tag
 * before and the one to come (https://semver.org).
 */
import { UserError } from "@kws/base/errors";

/** Where a commit stands among the tags of a service. */
export interface Position {
  /** The full name of the commit. */
  commit: string;
  /** The version of the nearest tag; undefined where there is none. */
  tag: string | undefined;
  /** Commits since that tag, or all of them. */
  distance: number;
  /** True where the folder holds what is not in the commit. */
  dirty: boolean;
}

/** The official expression of semver.org. */
const pattern =
  /^(?<core>(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*))(?:-(?<pre>(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+(?<build>[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$/;

export function isVersion(text: string): boolean {
  return pattern.test(text);
}

/**
 * A tag's version on its commit. After it, the next patch (or the same pre-release) with `dev.<commits since>`, and the
 * commit as build metadata. Without a tag, the chart's version is the one to come.
 */
export function developmentVersion(position: Position, chartVersion: string): string {
  const { commit, tag, distance, dirty } = position;
  const build = `g${commit.slice(0, 7)}`;
  if (tag !== undefined && distance === 0 && !dirty) return tag;
  const { core, pre } = parse(tag ?? chartVersion);
  const count = `dev.${distance}`;
  const next = tag === undefined || pre !== undefined ? core : nextPatch(core);
  const version = `${next}-${pre === undefined ? count : `${pre}.${count}`}+${build}`;
  return dirty ? dirtied(version, commit) : version;
}

/** Marks a version as made from what is in no commit. */
export function dirtied(version: string, commit: string): string {
  const { build } = parse(version);
  if (build?.includes("-dirty") === true) return version;
  const own = `g${commit.slice(0, 7)}`;
  if (build === own) return `${version}-dirty`;
  return `${version}${build === undefined ? "+" : "."}${own}-dirty`;
}

export function isDirty(version: string): boolean {
  return /\+.*-dirty$/.test(version);
}

/** What a registry accepts of a version as a tag; Helm does the same. */
export function tagOf(version: string): string {
  return version.replaceAll("+", "_");
}

/** Precedence as https://semver.org/#spec-item-11 has it; build metadata does not count. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parse(a), parse(b)];
  return (
    compareParts(left.core.split("."), right.core.split(".")) ||
    // A release comes after its pre-releases.
    Number(left.pre === undefined) - Number(right.pre === undefined) ||
    compareParts(left.pre?.split(".") ?? [], right.pre?.split(".") ?? [])
  );
}

function compareParts(a: string[], b: string[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [left, right] = [a[index], b[index]];
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1;
    if (left === right) continue;
    const numeric = [/^\d+$/.test(left), /^\d+$/.test(right)] as const;
    if (numeric[0] && numeric[1]) return BigInt(left) < BigInt(right) ? -1 : 1;
    if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}

function parse(version: string): { core: string; pre: string | undefined; build: string | undefined } {
  const groups = pattern.exec(version)?.groups;
  if (groups?.["core"] === undefined) {
    throw new UserError(`"${version}" is not a version`, {
      code: "config",
      fix: "Write it as SemVer has it, such as 1.4.0 or 1.4.0-rc.1.",
    });
  }
  return { core: groups["core"], pre: groups["pre"], build: groups["build"] };
}

function nextPatch(core: string): string {
  const [major, minor, patch = "0"] = core.split(".");
  return `${major}.${minor}.${BigInt(patch) + 1n}`;
}
