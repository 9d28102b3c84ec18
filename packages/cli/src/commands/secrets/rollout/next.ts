import { continueRollout } from "@kws/platform/rollouts/rollout";
import { defineCommand } from "../../../command.ts";
import { credentialArgument, openRotation, rolloutOptions, rolloutResult } from "../../../rotating.ts";

export const command = defineCommand({
  summary: "move one client to the new value; after the last, the provider forgets the old one",
  description:
    "First deploys what an interrupted step has committed and not deployed. Then one client gets the new value: in its profile's " +
    "secrets, as a commit, as a package, and deployed, until it is ready. After the last client the provider accepts the new " +
    "value alone. A deployment that fails leaves the rotation at its step.",
  args: [credentialArgument],
  options: rolloutOptions,
  examples: ["kws secrets rollout next payments/token -p qa1"],
  async run({ args: [name = ""], options }, ctx) {
    const rotation = await openRotation(ctx, name, options);
    return rolloutResult(rotation, await continueRollout(rotation.credential, rotation.options));
  },
});
