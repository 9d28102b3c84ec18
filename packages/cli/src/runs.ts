/** Runs on the server, for the commands of pipelines: which repository is meant, following a run to its end, and how one looks. */
import type { Client } from "@kws/api/client";
import { listRepositories } from "@kws/api/repositories";
import { getRun, type Job, type Run, type RunDetail } from "@kws/api/runs";
import { streamEvents } from "@kws/api/events";
import { formatAge, formatDuration } from "@kws/base/duration";
import { exitCodes, UserError } from "@kws/base/errors";
import { exec } from "@kws/base/exec";
import { gitEnv, publicAddress, safe } from "@kws/platform/project/git";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import { printable, type Style } from "./style.ts";

export const runArgument = {
  name: "run",
  description: "the run's name, as `kws pipeline list` shows it",
  required: true,
} as const;

export const whyOption = {
  type: "string",
  value: "text",
  description: "why, for the run and the audit log",
} as const;

/** The server's name of the repository that this folder is a clone of, unless one is given. */
export async function repositoryName(
  ctx: Context,
  client: Client,
  given: string | undefined,
): Promise<string> {
  if (given !== undefined) return given;
  const project = await ctx.project();
  const found = await exec("git", [...safe, "-C", project.root, "remote", "get-url", "origin"], {
    env: gitEnv(ctx.childEnv),
    signal: ctx.signal,
  });
  const url = found.exitCode === 0 ? found.stdout.trim() : "";
  const address = (of: string) => (publicAddress(of) ?? of).replace(/\.git$/, "");
  for await (const { name, url: known } of client.all(listRepositories))
    if (url !== "" && address(known) === address(url)) return name;
  throw new UserError(
    url === "" ? `${project.root} has no remote "origin"` : "the server does not know this repository",
    {
      code: "not-found",
      fix: "Name one with --repository, or register it with `kws server repository add`.",
    },
  );
}

interface Following {
  end: (job: Job) => void;
}

/** Shows the steps of a run as they begin and end. Ctrl-C ends the following, and not the run. */
export async function follow(ctx: Context, client: Client, id: string): Promise<RunDetail> {
  const steps = ctx.steps();
  const open = new Map<string, Following>();
  const shown: Promise<void>[] = [];
  const tell = (job: Job) => {
    const { state, title, why } = job;
    if (state === "pending") return;
    let one = open.get(job.job);
    if (one === undefined) {
      const { promise, resolve } = Promise.withResolvers<Job>();
      one = { end: resolve };
      open.set(job.job, one);
      const work = steps.run({ id: job.job, title, after: job.needs }, async (step) => {
        const ended = await promise;
        if (ended.state === "failed") throw new Error(ended.why ?? "");
        if (ended.state !== "passed") step.skip(ended.why);
      });
      shown.push(work.catch(() => undefined));
    }
    if (state === "waiting")
      ctx.stderr.write(`${title} waits for approval: kws pipeline approve ${id} ${job.job}\n`);
    else if (state !== "running") one.end({ ...job, ...(why === undefined ? {} : { why }) });
  };
  const stopped = new AbortController();
  const query = { kind: "run.", subject: id };
  try {
    const told = new Map<string, string>();
    for await (const { item } of client.stream(streamEvents, { after: "0", query, signal: stopped.signal })) {
      if (item.kind !== "run.job" && item.kind !== "run.ended") continue;
      const run = await client.call(getRun, { params: { run: id } });
      for (const job of run.jobs) {
        if (told.get(job.job) === job.state) continue;
        told.set(job.job, job.state);
        tell(job);
      }
      if (run.endedAt === undefined) continue;
      await Promise.all(shown);
      return run;
    }
    throw new Error("a stream of events has ended");
  } finally {
    stopped.abort();
  }
}

export function runTable(runs: readonly Run[], style: Style, now: number): NonNullable<Result["table"]> {
  return {
    columns: ["RUN", "STATE", "SERVICE", "REF", "COMMIT", "BY", "AGE", "NOTE"],
    rows: runs.map((run) => [
      run.run,
      stateText(run.state, style),
      run.service,
      printable(run.branch ?? run.tag ?? ""),
      run.commit.slice(0, 10),
      printable(run.requestedBy),
      formatAge(now - Date.parse(run.createdAt)),
      printable(run.problem ?? ""),
    ]),
  };
}

/** Of one run or several, with exit code 1 where one did not succeed. */
export function runResult(runs: readonly RunDetail[], data: unknown, style: Style): Result {
  const failed = runs.some(({ state, endedAt }) => endedAt !== undefined && state !== "succeeded");
  const problems = runs.flatMap(({ run, state, problem }) =>
    problem === undefined ? [] : [printable(`${run} ${state}: ${problem}`)],
  );
  return {
    data,
    table: {
      columns: ["RUN", "STEP", "STATE", "TIME", "NOTE"],
      rows: runs.flatMap(({ run, jobs }) =>
        jobs.map(({ title, state, durationMs, why, tests, attempts }) => [
          run,
          title,
          stateText(state, style),
          durationMs === undefined ? "" : formatDuration(durationMs),
          printable(
            [
              ...(why === undefined ? [] : [why.split("\n")[0] ?? ""]),
              ...(tests === undefined
                ? []
                : [`${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped`]),
              ...(attempts > 1 ? [`${attempts} tries`] : []),
            ].join("; "),
          ),
        ]),
      ),
    },
    ...(problems.length === 0 ? {} : { text: problems.join("\n") }),
    exitCode: failed ? exitCodes.failed : exitCodes.ok,
  };
}

function stateText(state: string, style: Style): string {
  if (state === "succeeded" || state === "passed") return style.green(state);
  if (state === "failed") return style.red(state);
  return ["skipped", "blocked", "cancelled", "superseded"].includes(state)
    ? style.dim(state)
    : style.yellow(state);
}
