/** Which tests are flaky: those that passed and failed with the same content. Pure: who records results, and where, is not known here. */
import { matchesGlob } from "node:path";

/** What one test ended with, once. */
export interface TestRecord {
  /** `suite: name`. */
  test: string;
  /** The fingerprint of all that was tested. */
  content: string;
  outcome: "passed" | "failed";
  /** RFC 3339. */
  at: string;
}

export interface FlakyTest {
  test: string;
  /** Of how many runs with the same content as one that ended otherwise, how many failed. */
  failed: number;
  runs: number;
  /** When it last failed, RFC 3339. */
  lastFailed: string;
}

/** The worst first. A test that fails since its content has changed is broken, and not flaky. */
export function flakyTests(records: readonly TestRecord[]): FlakyTest[] {
  const groups = Map.groupBy(records, ({ test, content }) => JSON.stringify([test, content]));
  const found = new Map<string, FlakyTest>();
  for (const group of groups.values()) {
    const failures = group.filter(({ outcome }) => outcome === "failed");
    const [first] = failures;
    if (first === undefined || failures.length === group.length) continue;
    const last = failures.map(({ at }) => at).reduce((a, b) => (a > b ? a : b));
    const known = found.get(first.test);
    found.set(first.test, {
      test: first.test,
      failed: (known?.failed ?? 0) + failures.length,
      runs: (known?.runs ?? 0) + group.length,
      lastFailed: known !== undefined && known.lastFailed > last ? known.lastFailed : last,
    });
  }
  return [...found.values()].sort(
    (a, b) => b.failed / b.runs - a.failed / a.runs || (a.test < b.test ? -1 : 1),
  );
}

/** Whether the test's failure is not to count: it fits one of the patterns of `quarantine`. */
export function isQuarantined(test: string, quarantine: readonly string[]): boolean {
  return quarantine.some((pattern) => pattern === test || matchesGlob(escaped(test), escaped(pattern)));
}

/** A slash in a name is no border of folders. */
function escaped(text: string): string {
  return text.replaceAll("/", "∕");
}
