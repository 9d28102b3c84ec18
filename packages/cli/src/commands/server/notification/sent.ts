import { listNotifications, notificationStates } from "@kws/api/notifications";
import { defineCommand } from "../../../command.ts";
import { serverClient } from "../../../server.ts";
import { printable } from "../../../style.ts";

export const command = defineCommand({
  summary: "what was sent, what waits for another attempt, and what failed",
  options: {
    channel: { type: "string", value: "name", description: "only what went into this one" },
    state: { type: "string", value: "state", choices: notificationStates, description: "only what is so" },
    limit: {
      type: "number",
      value: "count",
      min: 1,
      max: 200,
      description: "the newest only; 20 unless given",
    },
  },
  examples: ["kws server notification sent --state failed"],
  async run({ options: { channel, state, limit = 20 } }, ctx) {
    const client = await serverClient(ctx);
    const wanted = notificationStates.find((one) => one === state);
    const { items } = await client.call(listNotifications, { query: { channel, state: wanted, limit } });
    return {
      data: items,
      table: {
        columns: ["CREATED", "CHANNEL", "MESSAGE", "STATE", "ATTEMPTS", "REASON"],
        rows: items.map(({ createdAt, channel, type, state, attempts, reason = "" }) => [
          createdAt,
          channel,
          type,
          state,
          String(attempts),
          printable(reason),
        ]),
      },
    };
  },
});
