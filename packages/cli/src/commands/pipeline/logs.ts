import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import { suggest } from "@kws/platform/project/nearest";
import { readLog, type StoredLine } from "@kws/platform/pipeline/logs/read";
import { openRuns } from "@kws/platform/pipeline/runs";
import { defineCommand } from "../../command.ts";
import { printable } from "../../style.ts";

/** How soon a step that begins is seen. */
const pollMs = 200;

export const command = defineCommand({
  summary: "what the steps of a run said",
  args: [
    { name: "run", description: "the run, as `kws pipeline run` named it", required: true },
    { name: "step", description: "only this step" },
  ],
  options: {
    follow: { type: "boolean", short: "F", description: "go on until the run has ended" },
    grep: { type: "string", value: "text", description: "only lines that hold this text" },
    from: { type: "number", value: "line", min: 0, description: "from this line on, the first being 0" },
    limit: { type: "number", value: "count", min: 1, description: "so many lines of each step at most" },
  },
  examples: [
    "kws pipeline logs orders-1f2e3d4c",
    "kws pipeline logs orders-1f2e3d4c test --grep ECONNREFUSED",
    "kws pipeline logs orders-1f2e3d4c --follow",
  ],
  async run({ args: [id = "", step], options }, ctx) {
    const runs = openRuns(ctx.locations.data);
    const jobs = await runs.logged(id);
    if (jobs === undefined) {
      throw new UserError(`there is no run "${id}" on this machine`, {
        code: "not-found",
        fix: "`kws pipeline run` names it in its result.",
      });
    }
    if (step !== undefined && !jobs.includes(step)) {
      throw new UserError(`the run ${id} has no step "${step}" that began`, {
        code: "not-found",
        fix: suggest(step, jobs, "Leave it out for all of them."),
      });
    }
    const json = ctx.globals.output === "json" || ctx.globals.output === "yaml";
    const lines: (Omit<StoredLine, "time"> & { step: string; time: string })[] = [];
    const isOver = () => runs.isOver(id, ctx.holder.host);
    const show = async (job: string) => {
      const { signal } = ctx;
      for await (const one of readLog(runs.logFolder(id, job), { ...options, isOver, signal })) {
        const { line, time, text } = one;
        // Written as they are read: a log may be larger than memory.
        if (!json) ctx.stdout.write(`${step === undefined ? `${job}: ` : ""}${printable(text)}\n`);
        else lines.push({ step: job, line, time: new Date(time).toISOString(), text });
      }
    };
    if (step !== undefined) await show(step);
    else if (options.follow !== true) for (const job of jobs) await show(job);
    else await followAll({ jobs: async () => (await runs.logged(id)) ?? [], isOver, show }, ctx.signal);
    ctx.signal.throwIfAborted();
    return json ? { data: { lines } } : {};
  },
});

/** Shows every job from when it begins. */
async function followAll(
  run: {
    jobs: () => Promise<string[]>;
    isOver: () => Promise<boolean>;
    show: (job: string) => Promise<void>;
  },
  signal: AbortSignal,
): Promise<void> {
  const shown = new Map<string, Promise<void>>();
  const broken = new AbortController();
  for (;;) {
    // Asked first: what began before the end is in the list.
    const isOver = await run.isOver();
    for (const job of await run.jobs()) {
      if (!shown.has(job))
        shown.set(
          job,
          run.show(job).catch((error: unknown) => broken.abort(error)),
        );
    }
    if (isOver) break;
    await sleep(pollMs, AbortSignal.any([signal, broken.signal]));
  }
  await Promise.all(shown.values());
  broken.signal.throwIfAborted();
}
