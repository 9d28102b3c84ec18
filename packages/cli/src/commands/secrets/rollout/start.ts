import { text } from "node:stream/consumers";
import { startRollout } from "@kws/platform/rollouts/rollout";
import { defineCommand } from "../../../command.ts";
import { credentialArgument, openRotation, rolloutOptions, rolloutResult } from "../../../rotating.ts";

export const command = defineCommand({
  summary: "begin to rotate a credential: its provider accepts a new value too",
  description:
    "Gives the provider a second value in the profile's secrets, commits that file alone, packages the provider and deploys it. " +
    "The old value stays good. A start that was interrupted goes on when it is run again.",
  args: [credentialArgument],
  options: {
    ...rolloutOptions,
    stdin: {
      type: "boolean",
      description: "take the new value from standard input, instead of a random one",
    },
  },
  examples: [
    "kws secrets rollout start payments/token -p qa1",
    "pass show payments/new | kws secrets rollout start payments/token -p qa1 --stdin",
  ],
  async run({ args: [name = ""], options }, ctx) {
    const rotation = await openRotation(ctx, name, options);
    const given = options.stdin === true ? (await text(ctx.stdin)).replace(/\r?\n$/, "") : undefined;
    return rolloutResult(rotation, await startRollout(rotation.credential, rotation.options, given));
  },
});
