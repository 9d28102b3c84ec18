import type { Job } from "@kws/platform/pipeline/plan";
import { defineCommand } from "../../command.ts";
import { planAll, servicesArgument, triggerOptions } from "../../pipelining.ts";

export const command = defineCommand({
  summary: "what a pipeline would do, and what it would leave out",
  description:
    "Makes the plan of a run without running it: every step, what it waits for, and why it is left out.",
  args: [servicesArgument],
  options: triggerOptions,
  examples: ["kws pipeline show orders", "kws pipeline show orders --event push --branch main"],
  async run({ args, options }, ctx) {
    const { planned } = await planAll(ctx, args, options);
    const pipelines = planned.map(({ service, plan, trigger, commit }) => ({
      service: service.name,
      trigger,
      // None where nothing is committed.
      commit: commit ?? null,
      jobs: plan.jobs.map(shown),
    }));
    return {
      data: { pipelines },
      table: {
        columns: ["SERVICE", "STEP", "AFTER", "NOTE"],
        rows: pipelines.flatMap(({ service, jobs }) =>
          jobs.map(({ title, needs, skip, approval }) => [
            service,
            title,
            needs.join(", "),
            skip === undefined ? (approval ? "waits for approval" : "") : `left out: ${skip}`,
          ]),
        ),
      },
    };
  },
});

function shown({ id, title, uses, needs, skip, config }: Job) {
  return {
    job: id,
    title,
    ...(uses === undefined ? {} : { uses }),
    needs,
    approval: config.approval === true,
    ...(skip === undefined ? {} : { skip }),
  };
}
