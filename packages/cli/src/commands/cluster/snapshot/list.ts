import { listSnapshots } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../../command.ts";
import { snapshotTable } from "../../../tables.ts";

export const command = defineCommand({
  summary: "the snapshots on this machine, of all clusters",
  examples: ["kws cluster snapshot list", "kws cluster snapshot list -o json"],
  async run(_input, ctx) {
    const snapshots = await listSnapshots(ctx.locations.data);
    return { data: snapshots, table: snapshotTable(snapshots, ctx.clock()) };
  },
});
