import { listBindings } from "@kws/api/bindings";
import { bindingTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "who has which role, and for what",
  examples: ["kws server binding list", "kws server binding list -o json"],
  async run(_input, ctx) {
    const found = await Array.fromAsync((await serverClient(ctx)).all(listBindings));
    return { data: found, table: bindingTable(found) };
  },
});
