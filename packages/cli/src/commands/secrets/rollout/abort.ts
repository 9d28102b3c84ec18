import { abortRollout } from "@kws/platform/rollouts/rollout";
import { defineCommand } from "../../../command.ts";
import { credentialArgument, openRotation, rolloutOptions, rolloutResult } from "../../../rotating.ts";

export const command = defineCommand({
  summary: "give a rotation up: clients go back to the old value, then the provider forgets the new one",
  description:
    "Gives every client the old value again, one after the other, each with a commit and a deployment, and then takes the new " +
    "one from the provider. One that was interrupted goes on when it is run again.",
  args: [credentialArgument],
  options: rolloutOptions,
  examples: ["kws secrets rollout abort payments/token -p qa1"],
  async run({ args: [name = ""], options }, ctx) {
    const rotation = await openRotation(ctx, name, options);
    return rolloutResult(rotation, await abortRollout(rotation.credential, rotation.options));
  },
});
