import type { Client } from "@kws/api/client";
import { getRun, type LogLine, readRunLog, streamRunLog } from "@kws/api/runs";
import { UserError } from "@kws/base/errors";
import { suggest } from "@kws/platform/project/nearest";
import { readLog, type StoredLine } from "@kws/platform/pipeline/logs/read";
import { openRuns } from "@kws/platform/pipeline/runs";
import { defineCommand, type Result } from "../../command.ts";
import type { Context } from "../../context.ts";
import { serverClient } from "../../server.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "what the steps of a run said",
  description: "Of a run from this machine, or on the server. With --follow and -o json, one object a line.",
  args: [
    { name: "run", description: "the run, as `kws pipeline run` named it", required: true },
    { name: "step", description: "only this step" },
  ],
  options: {
    follow: { type: "boolean", short: "F", description: "of a run on the server: go on with what comes" },
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
    if (jobs === undefined) return logsThere(ctx, id, step, options);
    if (options.follow === true)
      throw new UserError(`the run ${id} is of this machine, and cannot be followed`, { code: "usage" });
    if (step !== undefined && !jobs.includes(step)) {
      throw new UserError(`the run ${id} has no step "${step}" that began`, {
        code: "not-found",
        fix: suggest(step, jobs, "Leave it out for all of them."),
      });
    }
    const json = ctx.globals.output === "json" || ctx.globals.output === "yaml";
    const lines: (Omit<StoredLine, "time"> & { step: string; time: string })[] = [];
    for (const job of step === undefined ? jobs : [step]) {
      for await (const { line, time, text } of readLog(runs.logFolder(id, job), {
        ...options,
        follow: false,
      })) {
        // Written as they are read: a log may be larger than memory.
        if (!json) ctx.stdout.write(`${step === undefined ? `${job}: ` : ""}${printable(text)}\n`);
        else lines.push({ step: job, line, time: new Date(time).toISOString(), text });
      }
    }
    return json ? { data: { lines } } : {};
  },
});

interface Asked {
  follow?: boolean | undefined;
  grep?: string | undefined;
  from?: number | undefined;
  limit?: number | undefined;
}

async function logsThere(
  ctx: Context,
  run: string,
  step: string | undefined,
  options: Asked,
): Promise<Result> {
  const { follow = false, grep, from = 0, limit = Number.POSITIVE_INFINITY } = options;
  const client = await serverClient(ctx);
  const { jobs } = await client.call(getRun, { params: { run } });
  const json = ctx.globals.output === "json" || ctx.globals.output === "yaml";
  const lines: object[] = [];
  for (const job of step === undefined ? jobs.map((one) => one.job) : [step]) {
    let count = 0;
    for await (const { line, time, text } of linesOf(client, { run, job }, { follow, grep })) {
      if (line < from) continue;
      if (json && follow) ctx.stdout.write(`${JSON.stringify({ step: job, line, time, text })}\n`);
      else if (json) lines.push({ step: job, line, time, text });
      else ctx.stdout.write(`${step === undefined ? `${job}: ` : ""}${printable(text)}\n`);
      if (++count >= limit) break;
    }
  }
  return json && !follow ? { data: { lines } } : {};
}

async function* linesOf(
  client: Client,
  params: { run: string; job: string },
  { follow, grep }: { follow: boolean; grep: string | undefined },
): AsyncGenerator<LogLine> {
  if (!follow) return yield* client.all(readRunLog, { params, query: { grep } });
  const stopped = new AbortController();
  try {
    const messages = client.stream(streamRunLog, { params, query: { grep }, signal: stopped.signal });
    for await (const { item } of messages) {
      if ("ended" in item) return;
      yield item;
    }
  } finally {
    stopped.abort();
  }
}
