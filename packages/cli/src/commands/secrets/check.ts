import { exitCodes, UserError } from "@kws/base/errors";
import { checkPaths, checkStaged } from "@kws/platform/secrets/check";
import { openKeys } from "@kws/platform/secrets/open";
import { defineCommand } from "../../command.ts";
import { shortPlace } from "../../profiles.ts";
import { foldersOf } from "../../secrets.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "are encrypted files in order? for pipelines, and before a commit",
  description:
    "Decrypts files in memory, verifies their MACs and prints nothing of them; finds values and comments in the clear, files that " +
    "should be encrypted and are not, and recipients that are not those of the creation rules by now. Looks at the files that are " +
    "named, which have to be encrypted, or at all that git has or would add. Exits with 0 where all is in order and with 3 otherwise.",
  args: [
    {
      name: "paths",
      description: "files or folders; the workspace and its services unless given",
      variadic: true,
    },
  ],
  options: {
    staged: {
      type: "boolean",
      description:
        "what git is about to commit, as it is in the index, instead of the files as they lie there",
    },
    "allow-unopened": {
      type: "boolean",
      description: "files that no key here opens are in order where all that needs no key is",
    },
  },
  examples: ["kws secrets check", "kws secrets check --allow-unopened", "kws secrets check --staged"],
  async run({ args, options }, ctx) {
    const staged = options.staged === true;
    if (staged && args.length > 0) {
      throw new UserError("--staged looks at what git is about to commit, and takes no paths", {
        code: "usage",
        fix: "Leave out one of the two.",
      });
    }
    const { childEnv: env, signal } = ctx;
    const keyring = await openKeys(ctx, signal);
    const { files, findings } = staged
      ? await checkStaged(ctx.cwd, { env, signal, keyring })
      : await checkPaths(await foldersOf(ctx, args), { env, signal, keyring });
    const told = findings.map(({ at, message }) => printable(`${shortPlace(ctx, at)}: ${message}`));
    const isAllowed = options["allow-unopened"] === true;
    const isGood = findings.every(({ kind }) => kind === "no-key" && isAllowed);
    const count = files.length === 1 ? "1 encrypted file" : `${files.length} encrypted files`;
    return {
      data: { files, findings },
      text: [...told, `${count} checked; ${isGood ? "all is in order" : "not all is in order"}.`].join("\n"),
      exitCode: isGood ? exitCodes.ok : exitCodes.degraded,
    };
  },
});
