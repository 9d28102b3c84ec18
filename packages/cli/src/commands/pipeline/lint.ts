import { defineCommand } from "../../command.ts";
import { planAll, servicesArgument } from "../../pipelining.ts";

export const command = defineCommand({
  summary: "are the pipelines of services in order?",
  description: "Reads every pipeline and makes its plan, without a cluster. Exit code 4 at the first fault.",
  args: [servicesArgument],
  examples: ["kws pipeline lint", "kws pipeline lint orders"],
  async run({ args }, ctx) {
    const { planned } = await planAll(ctx, args, {});
    const services = planned.map(({ service, plan }) => ({
      service: service.name,
      usual: service.config.pipeline?.steps === undefined,
      jobs: plan.jobs.length,
    }));
    return {
      data: { services },
      table: {
        columns: ["SERVICE", "STEPS", "PIPELINE"],
        rows: services.map(({ service, usual, jobs }) => [
          service,
          String(jobs),
          usual ? "the usual one" : "its own",
        ]),
      },
    };
  },
});
