import { exitCodes } from "@kws/base/errors";
import type { ProviderStatus } from "@kws/platform/providers/provider";
import { clusterTable } from "../../tables.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "whether the cluster runs, where, and since when",
  description: "Whether the cluster runs, where, and since when. Exits with 3 where it does not run.",
  args: [{ name: "name", description: "the cluster's name", completes: "clusters" }],
  examples: ["kws cluster status", "kws cluster status -o json"],
  async run({ args: [name] }, ctx) {
    const status = await (await ctx.provider(name)).status();
    const exitCode = status.state === "running" ? exitCodes.ok : exitCodes.degraded;
    return {
      data: status,
      table: clusterTable([status], ctx.style, ctx.clock()),
      ...told(status),
      exitCode,
    };
  },
});

function told({ kubeconfigPath, problem, state }: ProviderStatus): { text?: string } {
  const lines = [
    ...(problem === undefined ? [] : [`\n${state}: ${problem}`]),
    ...(kubeconfigPath === undefined ? [] : [`\nkubeconfig: ${kubeconfigPath}`]),
  ];
  return lines.length === 0 ? {} : { text: lines.join("") };
}
