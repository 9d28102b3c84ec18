import { quarantineTest, releaseTest } from "@kws/api/runs";
import { defineCommand } from "../../command.ts";
import { whyOption } from "../../runs.ts";
import { serverClient } from "../../server.ts";

export const command = defineCommand({
  summary: "let a test's failure not fail runs on the server",
  description:
    "From the next run on, the test's failure does not fail `test`; --release lets it count again. `quarantine` in kws.yaml does the " +
    "same, and names patterns as well.",
  args: [
    { name: "service", description: "whose test it is", required: true },
    {
      name: "test",
      description: "the test, as `kws pipeline flaky` names it; patterns are allowed",
      required: true,
    },
  ],
  options: {
    why: whyOption,
    release: { type: "boolean", description: "take it out of quarantine" },
  },
  examples: ['kws pipeline quarantine orders "cart: adds an item" --why "clock"'],
  async run({ args: [service = "", test = ""], options: { why, release } }, ctx) {
    const client = await serverClient(ctx);
    const params = { service, test };
    const done =
      release === true
        ? await client.call(releaseTest, { params })
        : await client.call(quarantineTest, { params, body: { why } });
    return { data: { ...done, quarantined: release !== true } };
  },
});
