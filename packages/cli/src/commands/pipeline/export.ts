import { UserError } from "@kws/base/errors";
import { exportFormats, exportPaths, exportPipeline } from "@kws/platform/pipeline/export";
import { defineCommand } from "../../command.ts";
import { planAll, servicesArgument } from "../../pipelining.ts";

export const command = defineCommand({
  summary: "a file for another CI that runs the same pipelines",
  description:
    "Prints a file in which each service is a job that calls kws. The steps stay in kws.yaml, so the file need not change with them.",
  args: [servicesArgument],
  options: {
    format: {
      type: "string",
      value: "format",
      choices: exportFormats,
      description: "whose file: jenkinsfile, github or gitlab",
    },
  },
  examples: [
    "kws pipeline export --format github > .github/workflows/kws.yml",
    "kws pipeline export orders --format jenkinsfile > Jenkinsfile",
  ],
  async run({ args, options }, ctx) {
    const format = exportFormats.find((one) => one === options.format);
    if (format === undefined) {
      throw new UserError("no format is given", {
        code: "usage",
        fix: `Give --format with one of: ${exportFormats.join(", ")}.`,
      });
    }
    const { planned } = await planAll(ctx, args, {});
    const text = exportPipeline(
      format,
      planned.map(({ service }) => service.name),
    );
    return { data: { format, path: exportPaths[format], text }, text };
  },
});
