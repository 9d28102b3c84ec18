/**
 * Ranges of versions, written as Helm takes them for `--version`
 * (https://github.com/Masterminds/semver#checking-version-constraints): `^1.4`, `~1.4.2`, `1.x`, `>= 1.2, < 2`, `1.2 - 1.4`, `^1 || ^3`. The
 * npm library `semver` reads them otherwise: commas, `!=`, and which pre-releases belong to a range.
 */
import { UserError } from "@kws/base/errors";
import { compareVersions, isVersion } from "./version.ts";

export type Range = (version: string) => boolean;

const numeral = String.raw`(\d+|[xX*])`;
const comparator = new RegExp(
  String.raw`^(=|!=|>|<|>=|=>|<=|=<|~>?|\^)?v?${numeral}(?:\.${numeral})?(?:\.${numeral})?(-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$`,
);

/** A pre-release is in a range only where a version of the range names one. Throws `usage` for what is no range. */
export function parseRange(text: string): Range {
  const groups = text.split("||").map((group) => {
    const parts = group
      .replaceAll(/(\S+)\s+-\s+(\S+)/g, ">=$1 <=$2")
      .replaceAll(/([=!<>~^])\s+/g, "$1")
      .split(/[\s,]+/)
      .filter((part) => part !== "");
    const compared = parts.map((part) => readComparator(part, text));
    if (compared.length === 0) throw notARange(text);
    const preReleases = compared.some(({ preRelease }) => preRelease);
    return (version: string) =>
      (preReleases || !isPreRelease(version)) && compared.every(({ includes }) => includes(version));
  });
  return (version) => groups.some((includes) => includes(version));
}

/** The highest versions that are in the range; more than one where they differ by their build metadata alone. */
export function highestIn(versions: string[], range: Range): string[] {
  const fitting = versions.filter((version) => isVersion(version) && range(version)).sort(compareVersions);
  const highest = fitting.at(-1);
  return highest === undefined ? [] : fitting.filter((one) => compareVersions(one, highest) === 0);
}

function isPreRelease(version: string): boolean {
  return version.split("+")[0]?.includes("-") === true;
}

function readComparator(part: string, text: string): { includes: Range; preRelease: boolean } {
  const match = comparator.exec(part);
  if (match === null) throw notARange(text);
  const [, operator = "=", ...rest] = match;
  const [major, minor, patch] = rest
    .slice(0, 3)
    .map((one) => (/^\d+$/.test(one ?? "") ? Number(one) : undefined));
  const preRelease = rest[3] ?? "";
  if (major === undefined) return { includes: () => operator !== "!=", preRelease: preRelease !== "" };
  const low = `${major}.${minor ?? 0}.${patch ?? 0}${preRelease}`;
  if (!isVersion(low)) throw notARange(text);
  const atLeast: Range = (version) => compareVersions(version, low) >= 0;
  const below =
    (end: string): Range =>
    (version) =>
      compareVersions(version, end) < 0;
  // The first version of all that is beyond those that what is written stands for.
  const end =
    minor === undefined
      ? `${major + 1}.0.0-0`
      : patch === undefined
        ? `${major}.${minor + 1}.0-0`
        : undefined;
  const same: Range = (version) =>
    end === undefined ? compareVersions(version, low) === 0 : atLeast(version) && below(end)(version);
  const includes = ((): Range => {
    switch (operator) {
      case "=":
        return same;
      case "!=":
        return (version) => !same(version);
      case ">":
        return (version) => atLeast(version) && !same(version);
      case "<":
        return below(low);
      case ">=":
      case "=>":
        return atLeast;
      case "<=":
      case "=<":
        return (version) => below(low)(version) || same(version);
      case "^": {
        const caret =
          major > 0 || minor === undefined
            ? `${major + 1}.0.0-0`
            : minor > 0 || patch === undefined
              ? `0.${minor + 1}.0-0`
              : `0.0.${patch + 1}-0`;
        return (version) => atLeast(version) && below(caret)(version);
      }
      default: {
        const tilde = minor === undefined ? `${major + 1}.0.0-0` : `${major}.${minor + 1}.0-0`;
        return (version) => atLeast(version) && below(tilde)(version);
      }
    }
  })();
  return { includes, preRelease: preRelease !== "" };
}

function notARange(text: string): UserError {
  return new UserError(`"${text}" is neither a version nor a range of versions`, {
    code: "usage",
    fix: "Write it like 1.4.0, ^1.4, 1.x or '>= 1.2, < 2'.",
  });
}
