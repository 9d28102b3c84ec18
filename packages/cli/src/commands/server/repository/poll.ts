import { setPoll } from "@kws/api/polls";
import { formatDuration } from "@kws/base/duration";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";

export const command = defineCommand({
  summary: "have the server ask a repository for new commits, where nobody tells it",
  args: [{ name: "name", description: "what it is called on the server", required: true }],
  options: {
    every: {
      type: "duration",
      value: "interval",
      description: "how often, from 10s to 24h; it is no longer asked unless given",
    },
  },
  examples: ["kws server repository poll shop --every 2m", "kws server repository poll shop"],
  async run({ args: [name = ""], options: { every } }, ctx) {
    const client = await serverClient(ctx);
    const everySeconds = every === undefined ? undefined : Math.round(every / 1000);
    const data = await client.call(setPoll, { params: { name }, body: { everySeconds } });
    const text =
      every === undefined
        ? `${name} is no longer asked.`
        : `${name} is asked every ${formatDuration(every)}.`;
    return { data, text };
  },
});
