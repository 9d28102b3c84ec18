import { listAudit } from "@kws/api/audit";
import { toCdEvent } from "@kws/server/audit/cdevents";
import { defineCommand } from "../../../command.ts";
import { findServer, serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "the whole audit log, a line an entry, the oldest first",
  description:
    "Writes the audit log to standard output, a JSON object a line: the entries with their hashes, or as CDEvents in CloudEvents' form.",
  options: {
    format: {
      type: "string",
      value: "format",
      choices: ["jsonl", "cdevents"],
      description: "the entries themselves, unless given, or CDEvents",
    },
    since: { type: "string", value: "time", description: "only entries from this time on, in RFC 3339" },
  },
  examples: [
    "kws server audit export > audit.jsonl",
    "kws server audit export --format cdevents --since 2026-01-01T00:00:00Z",
  ],
  async run({ options: { format = "jsonl", since } }, ctx) {
    const [client, { url }] = await Promise.all([serverClient(ctx), findServer(ctx)]);
    const query = { order: "oldest", limit: 200, since } as const;
    for await (const entry of client.all(listAudit, { query }))
      ctx.stdout.write(`${JSON.stringify(format === "cdevents" ? toCdEvent(entry, url) : entry)}\n`);
  },
});
