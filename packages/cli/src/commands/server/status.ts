import { getMe } from "@kws/api/me";
import { defineCommand } from "../../command.ts";
import { serverClient } from "../../server.ts";
import { serverTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "whether the server runs, and where",
  description:
    "Of this machine's server, or of the one that KWS_SERVER_URL names: then also who KWS_TOKEN belongs to.",
  examples: ["kws server status", "kws server status -o json"],
  async run(_input, ctx) {
    const url = ctx.env["KWS_SERVER_URL"];
    if (url !== undefined) {
      const { name } = await (await serverClient(ctx)).call(getMe);
      const status = { state: "running" as const, url, caller: name };
      return { data: status, table: serverTable(status, ctx.style, ctx.clock()) };
    }
    const [{ serverStatus }, { serverFolder }] = await Promise.all([
      import("@kws/server/lifecycle"),
      import("@kws/server/state"),
    ]);
    const status = await serverStatus(serverFolder(ctx.locations.data));
    return { data: status, table: serverTable(status, ctx.style, ctx.clock()) };
  },
});
