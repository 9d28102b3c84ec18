import { listEmbedded } from "@kws/platform/providers/embedded";
import { clusterTable } from "../../tables.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "the clusters that kws made on this machine",
  examples: ["kws cluster list", "kws cluster list -o json"],
  async run(_input, ctx) {
    const clusters = await listEmbedded(ctx.locations.data);
    return { data: clusters, table: clusterTable(clusters, ctx.style, ctx.clock()) };
  },
});
