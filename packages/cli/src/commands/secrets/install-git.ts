import { openRepository } from "@kws/platform/project/repository";
import { installGit } from "@kws/platform/secrets/install-git";
import { defineCommand } from "../../command.ts";

export const command = defineCommand({
  summary: "have git merge and show encrypted files key by key",
  description:
    "Sets up this clone so that `git merge` merges encrypted files with `kws secrets merge-driver` and `git diff` shows them with " +
    "`kws secrets textconv`, and names the files in .gitattributes, which is to be committed.",
  args: [{ name: "patterns", description: "of .gitattributes; `secrets.yaml` unless given", variadic: true }],
  examples: ["kws secrets install-git", "kws secrets install-git 'secrets.*' '*.enc.json'"],
  async run({ args }, ctx) {
    const repository = await openRepository(ctx.cwd, { env: ctx.childEnv, signal: ctx.signal });
    const data = await installGit(repository, args.length === 0 ? ["secrets.yaml"] : args);
    const lines = data.added.map((line) => `${data.attributes}: ${line}`);
    return { data, text: lines.length === 0 ? "git is set up." : `${lines.join("\n")}\ngit is set up.` };
  },
});
