import { readStanding } from "@kws/platform/rollouts/state";
import { defineCommand } from "../../../command.ts";
import { credentialArgument, openRotation, rolloutResult, statusOptions } from "../../../rotating.ts";

export const command = defineCommand({
  summary: "who has which value of a credential: the old one, the new one, or both",
  description:
    "Tells of the provider and of each client which value its profile has, whether that is committed, and what is deployed. " +
    "Changes nothing, and shows no value.",
  args: [credentialArgument],
  options: statusOptions,
  examples: ["kws secrets rollout status payments/token -p qa1"],
  async run({ args: [name = ""], options }, ctx) {
    const rotation = await openRotation(ctx, name, options);
    return rolloutResult(rotation, (await readStanding(rotation.credential, rotation.options)).state);
  },
});
