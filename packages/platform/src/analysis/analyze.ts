/** Runs checks side by side, each within its time, and sums up what they found. */
import { messageOf, UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import { ApiError } from "@kws/kube/status";
import { suggest } from "../project/nearest.ts";
import { checks } from "./checks.ts";
import {
  type Check,
  type Family,
  families,
  faultFinding,
  type Finding,
  severities,
  type Severity,
} from "./finding.ts";
import type { Subject } from "./subject.ts";

export interface ReportedFinding {
  /** The check's. */
  id: string;
  family: Family;
  severity: Severity;
  message: string;
  where?: string;
  fix?: string;
  /** `--fix` can make it. */
  fixable: boolean;
  /** What `--fix` did. */
  fixed?: string;
}

export interface Analysis {
  /** The worst first within each family. */
  findings: ReportedFinding[];
  counts: Record<Severity, number>;
  /** Those that were run, and how long each took. */
  checks: { id: string; milliseconds: number }[];
}

export interface AnalyzeOptions {
  only: readonly string[];
  skip: readonly string[];
  fix: boolean;
  now: () => number;
}

const usualTimeoutMs = 8000;

/** The checks that are meant; names are ids or families. Throws `usage` for a name that is neither. */
export function chooseChecks(
  all: readonly Check[],
  only: readonly string[],
  skip: readonly string[],
): Check[] {
  const known = [...families, ...all.map(({ id }) => id)] as string[];
  for (const name of [...only, ...skip]) {
    if (known.includes(name)) continue;
    throw new UserError(`there is no check "${name}"`, {
      code: "usage",
      fix: suggest(name, known, "See docs/reference/analyze.md for all of them."),
    });
  }
  const isNamed = (names: readonly string[]) => (check: Check) =>
    names.includes(check.id) || names.includes(check.family);
  const wanted = only.length === 0 ? [...all] : all.filter(isNamed(only));
  return wanted.filter((check) => !isNamed(skip)(check));
}

export async function analyze(subject: Subject, options: AnalyzeOptions, all = checks): Promise<Analysis> {
  if (subject.chosen.length > 0) await subject.services();
  // One service's repository says nothing of this machine.
  const meant = subject.chosen.length === 0 ? all : all.filter(({ family }) => family === "service");
  const chosen = chooseChecks(options.only.length === 0 ? meant : all, options.only, options.skip);
  const ran: Analysis["checks"] = [];
  const found = await Promise.all(
    chosen.map(async (check) => {
      const began = options.now();
      const findings = await runCheck(check, subject);
      ran.push({ id: check.id, milliseconds: Math.round(options.now() - began) });
      return findings.map((finding) => ({ check, finding }));
    }),
  );
  const findings: ReportedFinding[] = [];
  for (const { check, finding } of found.flat()) findings.push(await reported(check, finding, options.fix));
  const rank = ({ family, severity }: ReportedFinding) =>
    families.indexOf(family) * severities.length + severities.indexOf(severity);
  return {
    findings: findings.toSorted((a, b) => rank(a) - rank(b)),
    counts: Object.fromEntries(
      severities.map((severity) => [severity, findings.filter((one) => one.severity === severity).length]),
    ) as Record<Severity, number>,
    checks: ran.toSorted((a, b) => b.milliseconds - a.milliseconds),
  };
}

/** A check that fails or is late spoils nothing but its own line. */
async function runCheck(check: Check, subject: Subject): Promise<Finding[]> {
  const limit = check.timeoutMs ?? usualTimeoutMs;
  const ended = new AbortController();
  const signal = AbortSignal.any([subject.signal, ended.signal]);
  const late = async (): Promise<Finding[]> => {
    await sleep(limit, signal);
    return [
      {
        severity: "warning",
        message: `nothing is known: this did not end within ${limit / 1000} s`,
        fix: `Leave it out with \`--skip ${check.id}\`, or see what keeps it with \`--log-level debug\`.`,
      },
    ];
  };
  try {
    return await Promise.race([check.run(subject, signal), late()]);
  } catch (error) {
    subject.signal.throwIfAborted();
    if (error instanceof UserError) return [faultFinding(error)];
    // A folder that may not be read, a connection that broke, a request that was refused.
    if (error instanceof ApiError || (error instanceof Error && "syscall" in error))
      return [{ severity: "error", message: `this could not be tried: ${messageOf(error)}` }];
    throw error;
  } finally {
    ended.abort();
  }
}

async function reported(check: Check, finding: Finding, fix: boolean): Promise<ReportedFinding> {
  const { repair, ...said } = finding;
  const base = { id: check.id, family: check.family, ...said, fixable: repair !== undefined };
  if (!fix || repair === undefined) return base;
  try {
    await repair.apply();
    return { ...base, fixed: repair.done };
  } catch (error) {
    return { ...base, message: `${said.message}; the fix failed: ${messageOf(error)}` };
  }
}
