import { serverTable } from "../../tables.ts";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "whether the server of this machine runs, and where",
  examples: ["kws server status", "kws server status -o json"],
  async run(_input, ctx) {
    const [{ serverStatus }, { serverFolder }] = await Promise.all([
      import("@kws/server/lifecycle"),
      import("@kws/server/state"),
    ]);
    const status = await serverStatus(serverFolder(ctx.locations.data));
    return { data: status, table: serverTable(status, ctx.style, ctx.clock()) };
  },
});
