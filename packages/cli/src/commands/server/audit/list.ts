import { type AuditEntry, listAudit } from "@kws/api/audit";
import { auditTable } from "../../../access.ts";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "who did what on the server, the newest first",
  options: {
    actor: { type: "string", value: "who", description: "only what this one did, by id or name" },
    action: { type: "string", value: "noun.verb", description: "only actions that begin with it" },
    subject: { type: "string", value: "what", description: "only what was done to this" },
    limit: { type: "number", value: "entries", min: 1, description: "how many; 50 unless given" },
  },
  examples: ["kws server audit list", "kws server audit list --action token. --limit 10 -o json"],
  async run({ options: { actor, action, subject, limit = 50 } }, ctx) {
    const client = await serverClient(ctx);
    const query = { actor, action, subject, limit: Math.min(limit, 200) };
    const found: AuditEntry[] = [];
    for await (const entry of client.all(listAudit, { query })) {
      found.push(entry);
      if (found.length === limit) break;
    }
    return { data: found, table: auditTable(found) };
  },
});
