import { UserError } from "@kws/base/errors";
import { suggest } from "@kws/platform/project/nearest";
import { readLog, type StoredLine } from "@kws/platform/pipeline/logs/read";
import { openRuns } from "@kws/platform/pipeline/runs";
import { defineCommand } from "../../command.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "what the steps of a run said",
  args: [
    { name: "run", description: "the run, as `kws pipeline run` named it", required: true },
    { name: "step", description: "only this step" },
  ],
  options: {
    grep: { type: "string", value: "text", description: "only lines that hold this text" },
    from: { type: "number", value: "line", min: 0, description: "from this line on, the first being 0" },
    limit: { type: "number", value: "count", min: 1, description: "so many lines of each step at most" },
  },
  examples: [
    "kws pipeline logs orders-1f2e3d4c",
    "kws pipeline logs orders-1f2e3d4c test --grep ECONNREFUSED",
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
    for (const job of step === undefined ? jobs : [step]) {
      for await (const { line, time, text } of readLog(runs.logFolder(id, job), options)) {
        // Written as they are read: a log may be larger than memory.
        if (!json) ctx.stdout.write(`${step === undefined ? `${job}: ` : ""}${printable(text)}\n`);
        else lines.push({ step: job, line, time: new Date(time).toISOString(), text });
      }
    }
    return json ? { data: { lines } } : {};
  },
});
