/** How the results of tests look. What tests say is text from elsewhere. */
import { formatAge, formatDuration } from "@kws/base/duration";
import type { TestResult } from "@kws/platform/tests/results";
import { printable, type Style } from "./style.ts";

export function resultsTable(
  results: TestResult[],
  style: Style,
  now: number,
): { columns: string[]; rows: string[][] } {
  return {
    columns: ["SERVICE", "LEVEL", "RESULT", "PASSED", "FAILED", "SKIPPED", "TIME"],
    rows: results.map((result) => {
      const { service, level, outcome, tests, cached, ranAt, durationMs } = result;
      const colored = outcome === "passed" ? style.green(outcome) : style.red(outcome);
      const age = cached ? `, ${formatAge(now - Date.parse(ranAt))} ago` : "";
      const counts = [tests?.passed, tests?.failed, tests?.skipped].map((count) => String(count ?? ""));
      return [service, level, colored + age, ...counts, formatDuration(durationMs)];
    }),
  };
}

/** What failed and why, and where to look; empty where there is nothing to say. */
export function resultsText(results: TestResult[], style: Style): string {
  return results
    .map((result) => [...failureLines(result), ...result.notes, ...keptLines(result)].map(printable))
    .map((lines, index) => [results[index], lines] as const)
    .filter(([, lines]) => lines.length > 0)
    .map(
      ([result, lines]) =>
        `\n${style.bold(`${result?.service} ${result?.level}`)}\n${indented(lines.join("\n"))}\n`,
    )
    .join("");
}

function failureLines({
  outcome,
  failures,
  tests,
  exitCode,
  reason,
  lastLines,
  error,
  folder,
}: TestResult): string[] {
  if (outcome === "passed") return [];
  if (error !== undefined) {
    return [
      error.message,
      ...(error.at === undefined ? [] : [`at ${error.at}`]),
      ...(error.fix === undefined ? [] : [error.fix]),
    ];
  }
  const why =
    reason === "timeout"
      ? "the tests did not end in time"
      : reason === "OOMKilled"
        ? "the tests ran out of memory (OOMKilled)"
        : exitCode === undefined
          ? `the tests were ended: ${reason}`
          : `exit code ${exitCode}`;
  const named = failures.map(
    ({ suite, name, message }) =>
      `✗ ${suite === "" ? "" : `${suite}: `}${name}${message === "" ? "" : `\n${indented(message)}`}`,
  );
  const more = (tests?.failed ?? 0) - failures.length;
  return [
    why,
    ...named,
    ...(more > 0 ? [`and ${more} more`] : []),
    // The failures say it better than the end of the output, which is most often about something else.
    ...(named.length > 0 || lastLines.length === 0 ? [] : ["last lines:", indented(lastLines.join("\n"))]),
    ...(folder === undefined ? [] : [`all of it: ${folder}`]),
  ];
}

function keptLines({ namespace }: TestResult): string[] {
  if (namespace === undefined) return [];
  return [
    `kept: \`kubectl get pods --namespace ${namespace}\` shows what ran; \`kws stack remove ${namespace}\` removes it, and so does the first test run after a day`,
  ];
}

function indented(text: string): string {
  return text.replaceAll(/^(?=.)/gm, "  ");
}
