/** Which packages may go: by name, or by age and number; what something pins stays. */
import { UserError } from "@kws/base/errors";
import type { StoredPackage } from "./store.ts";
import { compareVersions, tagOf } from "./version.ts";

/** What still needs a package, in words, by the package's digest or by `service@version`. */
export type Pinned = Map<string, string>;

/** Who needs it; undefined where nobody does. */
export function pinnedBy(pinned: Pinned, { digest, service, version }: StoredPackage): string | undefined {
  return pinned.get(digest) ?? pinned.get(`${service}@${version}`);
}

/** The packages that are named: `orders`, `orders:1.4.0`, or as `repository:tag` of the chart. Throws `not-found` for none. */
export function choosePackages(all: StoredPackage[], names: string[]): StoredPackage[] {
  const chosen = names.flatMap((name) => {
    const [service, version] = name.split(":");
    const isMeant = (one: StoredPackage) =>
      one.chart === name ||
      (one.service === service && (version === undefined || tagOf(one.version) === tagOf(version)));
    const found = all.filter(isMeant);
    const [first] = found;
    if (first === undefined) {
      throw new UserError(`there is no package ${name} on this machine`, {
        code: "not-found",
        fix: "`kws package list` shows those that there are.",
      });
    }
    const repositories = new Set(found.map(repositoryOf));
    if (repositories.size > 1) {
      throw new UserError(`several packages are called ${name}`, {
        code: "usage",
        fix: `Name them by their charts: ${found.map(({ chart }) => chart).join(", ")}.`,
      });
    }
    return found;
  });
  return [...new Set(chosen)];
}

/** All but the newest `keep` of each service, and those made from commits of the last `youngerMs`. */
export function prunable(
  all: StoredPackage[],
  { keep, youngerMs, now }: { keep: number; youngerMs: number; now: number },
): StoredPackage[] {
  const groups = Map.groupBy(all, repositoryOf);
  return [...groups.values()].flatMap((group) =>
    group
      .toSorted((a, b) => b.created.localeCompare(a.created) || compareVersions(b.version, a.version))
      .slice(keep)
      .filter(({ created }) => now - Date.parse(created) >= youngerMs),
  );
}

function repositoryOf({ chart }: StoredPackage): string {
  return chart.slice(0, chart.lastIndexOf(":"));
}
