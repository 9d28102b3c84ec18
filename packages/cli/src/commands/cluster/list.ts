import { detectProviders } from "@kws/platform/providers/detect";
import { clusterTable } from "../../tables.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "the clusters on this machine, of all providers",
  description:
    "The clusters on this machine, of all providers. Tools that are installed are asked at the same time, for five seconds at most; one that fails is told on standard error.",
  examples: ["kws cluster list", "kws cluster list -o json"],
  async run(_input, ctx) {
    const { locations, env, home, signal } = ctx;
    const found = await detectProviders({ data: locations.data, env, home, signal });
    for (const { provider, problem } of found) {
      if (problem !== undefined) ctx.stderr.write(`the clusters of ${provider} are not known: ${problem}\n`);
    }
    const clusters = found.flatMap((one) => one.clusters);
    return { data: clusters, table: clusterTable(clusters, ctx.style, ctx.clock()) };
  },
});
