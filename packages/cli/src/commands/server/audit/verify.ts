import { listAudit } from "@kws/api/audit";
import { exitCodes } from "@kws/base/errors";
import { ChainReader } from "@kws/server/audit/chain";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "check that the audit log is whole",
  description:
    "Reads the audit log and checks here that every entry follows from the one before, so that one that was changed, removed or put in " +
    "is found. Its head, kept elsewhere and given with --head later, proves that none was cut off its end either. Exits with 1 where it " +
    "is not whole.",
  options: {
    head: { type: "string", value: "hash", description: "the head of an earlier check, which must be in it" },
  },
  examples: ["kws server audit verify", "kws server audit verify --head $HASH"],
  async run({ options: { head } }, ctx) {
    const client = await serverClient(ctx);
    const reader = new ChainReader();
    let entries = 0;
    let broken: { seq: number; reason: string } | undefined;
    let isHeadThere = head === undefined || head === reader.head;
    for await (const entry of client.all(listAudit, { query: { order: "oldest", limit: 200 } })) {
      broken ??= reader.read(entry);
      isHeadThere ||= entry.hash === head;
      entries++;
    }
    const data = { whole: broken === undefined && isHeadThere, entries, head: reader.head, broken };
    const text = !isHeadThere
      ? `The entry with the hash ${head} is missing: the log was cut off, or made anew.`
      : broken === undefined
        ? `All ${entries} entries follow from each other. Head: ${reader.head}`
        : `Entry ${broken.seq} is not right: ${broken.reason}.`;
    return { data, text, exitCode: data.whole ? exitCodes.ok : exitCodes.failed };
  },
});
