import { type FlakyTest, listFlaky } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { serverClient } from "../../server.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "tests that passed and failed with the same content, on the server",
  args: [{ name: "service", description: "only of this service" }],
  examples: ["kws pipeline flaky", "kws pipeline flaky orders"],
  async run({ args: [service] }, ctx) {
    const client = await serverClient(ctx);
    const tests: FlakyTest[] = await Array.fromAsync(client.all(listFlaky, { query: { service } }));
    return {
      data: { tests },
      table: {
        columns: ["SERVICE", "TEST", "FAILED", "LAST", "NOTE"],
        rows: tests.map(({ service: of, test, failed, runs, lastFailed, quarantined }) => [
          of,
          printable(test),
          `${failed} of ${runs}`,
          lastFailed,
          quarantined ? "in quarantine" : "",
        ]),
      },
    };
  },
});
