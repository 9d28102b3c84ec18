import { openPackageStore } from "@kws/platform/packages/store";
import { defineCommand } from "../../command.ts";
import { packageTable } from "../../packaging.ts";

export const command = defineCommand({
  summary: "the packages on this machine",
  examples: ["kws package list", "kws package list -o json"],
  async run(_input, ctx) {
    const packages = await (await openPackageStore(ctx.locations.data)).list();
    return { data: packages, table: packageTable(packages, ctx.clock()) };
  },
});
