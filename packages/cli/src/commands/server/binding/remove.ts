import { removeBinding } from "@kws/api/bindings";
import { bindingTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "take a role away",
  args: [{ name: "id", description: "as `kws server binding list` shows it", required: true }],
  examples: ["kws server binding remove 2f1c6f0e-6a0f-4c1e-9c55-0d9f3b9a7f11"],
  async run({ args: [id = ""] }, ctx) {
    const removed = await (await serverClient(ctx)).call(removeBinding, { params: { id } });
    return { data: removed, table: bindingTable([removed]) };
  },
});
