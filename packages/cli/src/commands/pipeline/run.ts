import { formatDuration } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import { flakyTests } from "@kws/platform/pipeline/flaky";
import { readLog } from "@kws/platform/pipeline/logs/read";
import type { JobResult } from "@kws/platform/pipeline/job";
import type { RunResult } from "@kws/platform/pipeline/run";
import { openRuns, type Runs } from "@kws/platform/pipeline/runs";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { exitCodeOf, planAll, runHere, servicesArgument, triggerOptions } from "../../pipelining.ts";
import { printable, type Style } from "../../style.ts";

const shownLines = 15;

export const command = defineCommand({
  summary: "run the pipelines of services on the working tree",
  description:
    "Checks, builds, tests and packages as the service's kws.yaml says, in pods of a namespace that goes when the run has ended, also " +
    "after Ctrl-C. Without `pipeline` in kws.yaml the usual steps run: check, datastores, build, test, publish, notify, candidate. " +
    "Packages stay on this machine unless --publish is given. What was built or tested with the same content is not done again. " +
    "Exit code 1 where a run failed.",
  args: [servicesArgument],
  options: {
    local: { type: "boolean", description: "from this machine, with what is not committed" },
    ...triggerOptions,
    publish: {
      type: "boolean",
      description: "push packages to the registry; everything has to be committed",
    },
    registry: {
      type: "string",
      value: "host/path",
      description: "the registry that packages are for, instead of the workspace's",
    },
    parallel: {
      type: "number",
      value: "count",
      min: 1,
      max: 32,
      description: "steps at once; 4 unless given",
    },
    "parallel-services": {
      type: "number",
      value: "count",
      min: 1,
      max: 32,
      description: "services at once, each with its --parallel; 1 unless given",
    },
    "keep-on-failure": {
      type: "boolean",
      description: "leave the namespace of a run that failed for a day, to look at",
    },
  },
  examples: [
    "kws pipeline run --local orders",
    "kws pipeline run --local --since origin/main",
    "kws pipeline run --local orders --branch main --event push --publish",
  ],
  async run({ args, options }, ctx) {
    if (options.local !== true) {
      throw new UserError("no server is set that could run it", {
        code: "usage",
        fix: "Add --local to run it from this machine.",
      });
    }
    const all = await planAll(ctx, args, options);
    if (all.planned.length === 0) return { data: { runs: [] }, text: "Nothing has changed." };
    const results = await runHere(ctx, all, {
      publish: options.publish === true,
      keepOnFailure: options["keep-on-failure"] === true,
      parallel: options.parallel ?? 4,
      parallelServices: options["parallel-services"] ?? 1,
      registry: options.registry,
    });
    const runs = openRuns(ctx.locations.data);
    const flaky = await flakyOf(runs, results);
    const failures = await Promise.all(results.map((result) => failureText(runs, result, ctx)));
    const text = [
      ...failures.filter((one) => one !== ""),
      ...flaky.map(({ test, failed, runs: count }) =>
        printable(`flaky: ${test} failed in ${failed} of ${count} runs with the same content`),
      ),
    ].join("\n");
    return {
      data: {
        runs: results.map((result) => ({ ...withoutRecords(result), folder: runs.folder(result.run) })),
        flaky,
      },
      table: {
        columns: ["RUN", "STEP", "RESULT", "TIME", "NOTE"],
        rows: results.flatMap((result) => result.jobs.map((job) => row(result, job, ctx.style))),
      },
      ...(text === "" ? {} : { text }),
      exitCode: exitCodeOf(results),
    };
  },
});

/** Of the tests of these runs, by what is recorded on this machine. */
async function flakyOf(runs: Runs, results: RunResult[]) {
  const services = new Set(results.map(({ service }) => service));
  const known = (await runs.list()).filter(({ service }) => services.has(service));
  return flakyTests(known.flatMap(({ jobs }) => jobs.flatMap(({ records = [] }) => records)));
}

function withoutRecords(result: RunResult): RunResult {
  return {
    ...result,
    jobs: result.jobs.map((job) => {
      const { records: _records, ...told } = job;
      return told;
    }),
  };
}

function row(
  { run }: RunResult,
  { title, outcome, durationMs, why, tests, attempts }: JobResult,
  style: Style,
): string[] {
  const colored =
    outcome === "passed"
      ? style.green(outcome)
      : outcome === "failed"
        ? style.red(outcome)
        : style.dim(outcome);
  const notes = [
    ...(why === undefined ? [] : [why.split("\n")[0] ?? ""]),
    ...(tests === undefined
      ? []
      : [`${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped`]),
    ...(attempts > 1 ? [`${attempts} tries`] : []),
  ];
  const time = outcome === "skipped" || outcome === "blocked" ? "" : formatDuration(durationMs);
  return [run, title, colored, time, printable(notes.join("; "))];
}

/** The ends of the logs of what failed, and where there is more. */
async function failureText(
  runs: Runs,
  { run, jobs, namespace }: RunResult,
  { style }: Context,
): Promise<string> {
  const parts: string[] = [];
  for (const { job, title } of jobs.filter(({ outcome }) => outcome === "failed")) {
    const lines: string[] = [];
    for await (const { text } of readLog(runs.logFolder(run, job))) {
      lines.push(printable(text));
      if (lines.length > shownLines) lines.shift();
    }
    parts.push(
      `\n${style.bold(title)}`,
      ...lines.map((line) => `  ${line}`),
      `  all of it: kws pipeline logs ${run} ${job}`,
    );
  }
  if (namespace !== undefined) parts.push(`\nkept for a day: \`kubectl get pods --namespace ${namespace}\``);
  return parts.join("\n");
}
