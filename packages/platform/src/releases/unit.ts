/** What is installed, upgraded and rolled back as one: a service's package, or all of a manifest where that is one release. */
import type { Chart } from "../charts/chart.ts";
import { redactor } from "../charts/redact.ts";
import { tagOf } from "../packages/version.ts";
import {
  fingerprintLabel,
  partProfilePrefix,
  partVersionPrefix,
  profileLabel,
  serviceLabel,
  stackLabel,
  versionLabel,
  workloadsLabel,
  workspaceLabel,
} from "../services/labels.ts";
import type { Release } from "../services/releases.ts";
import type { Holder } from "../services/lease.ts";
import type { Prepared } from "../packages/prepare.ts";

/** One Helm release to come. */
export interface Unit {
  /** Its name: the service's, or the manifest's. */
  release: string;
  /** It holds all of a manifest. */
  together: boolean;
  parts: Prepared[];
  chart: Pick<Chart, "dir" | "digest" | "layers" | "values" | "hasHooks">;
  /** Of the package, or of the manifest's chart. */
  version: string;
}

/** The release of a service alone. */
export function unitOf(one: Prepared): Unit {
  const { service, version } = one.found;
  return { release: service, together: false, parts: [one], chart: one.chart, version };
}

export function servicesOf({ parts }: Unit): string[] {
  return parts.map(({ found }) => found.service);
}

/** That Helm keeps on its own Secret of the release; "null" takes one away that the revision before had. */
export function labelsOf(
  unit: Unit,
  { stack, workspace, fingerprint }: { stack: string; workspace: string; fingerprint: string },
  newest: Release | undefined,
): Record<string, string> {
  const own = unit.together ? labelsOfParts(unit, newest?.parts ?? []) : labelsOfService(unit);
  return {
    [stackLabel]: stack,
    [workspaceLabel]: workspace,
    [fingerprintLabel]: fingerprint,
    [versionLabel]: tagOf(unit.version),
    ...own,
    // Not known to be ready yet.
    ...(newest === undefined ? {} : { [workloadsLabel]: "null" }),
  };
}

function labelsOfService({ release, parts }: Unit): Record<string, string> {
  return { [serviceLabel]: release, [profileLabel]: parts[0]?.profile ?? "" };
}

function labelsOfParts({ parts }: Unit, before: Release["parts"]): Record<string, string> {
  const pairs = (service: string, version: string, profile: string) => [
    [`${partVersionPrefix}${service}`, version],
    [`${partProfilePrefix}${service}`, profile],
  ];
  return Object.fromEntries([
    ...before.flatMap(({ service }) => pairs(service, "null", "null")),
    ...parts.flatMap(({ found, profile }) => pairs(found.service, tagOf(found.version), profile)),
  ]) as Record<string, string>;
}

/** One line for `helm history`: from what to what, by whom, why. */
export function describe(
  { parts, chart, version, together }: Unit,
  running: Release | undefined,
  { holder, reason }: { holder: Holder; reason?: string | undefined },
): string {
  const from = running === undefined ? "" : `${running.version || "a local build"} → `;
  const [first] = parts;
  const keys = (first?.settings ?? []).map((setting) => setting.replace(/=.*$/s, ""));
  const set = keys.length === 0 ? "" : `, ${keys.join(" and ")} set`;
  const what = together
    ? `${parts.length} packages together`
    : `(${first?.found.digest}), profile ${first?.profile}${set}`;
  const why = reason === undefined ? "" : `: ${reason}`;
  const text = `${from}${version}${together ? ", " : " "}${what}, by ${holder.user}@${holder.host}${why}`;
  return redactor(chart.layers).text(text.replaceAll(/[\p{Cc}\s]+/gu, " "));
}
