import { resolve } from "node:path";
import { UserError } from "@kws/base/errors";
import { openPrivateFile, type PrivateFile } from "@kws/platform/secrets/editor";
import { readOrBegin, refuseChanged, writeSecretFile } from "@kws/platform/secrets/files";
import { editFile, encryptFile, openFile, plaintext } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { chosen, sealingOptions } from "../../sealing.ts";
import {
  changedResult,
  configOption,
  fileArgument,
  formatNamed,
  ignoreMacOption,
  inputTypeOption,
  openTools,
} from "../../secrets.ts";

export const command = defineCommand({
  summary: "edit an encrypted file in your editor",
  description:
    "Opens SOPS_EDITOR, EDITOR, vim, nano or vi on the plaintext, in a private folder in memory that is removed whatever " +
    "happens. Values that stay the same keep their ciphertext. A file that does not exist is made, as its creation rule or flags " +
    "say. Exits with 200 where nothing was changed.",
  args: [fileArgument],
  options: {
    ...sealingOptions,
    "input-type": inputTypeOption,
    "ignore-mac": ignoreMacOption,
    config: configOption,
  },
  examples: ["kws secrets edit chart/profiles/qa/secrets.yaml"],
  async run({ args: [name = ""], options }, ctx) {
    const choices = chosen(ctx, options);
    const tools = await openTools(ctx, options);
    const file = await readOrBegin(resolve(ctx.cwd, name), formatNamed(options["input-type"]));
    const opened = file.isNew ? undefined : await openFile(file, tools);
    const before = opened === undefined ? file.content : plaintext(opened);
    await using text = await openPrivateFile(file.path, before, { env: ctx.childEnv, signal: ctx.signal });
    const sealed = await editUntilGood(ctx, text, async (content) =>
      opened === undefined
        ? encryptFile({ ...file, content }, tools, choices)
        : editFile(opened, content, tools),
    );
    await refuseChanged(file);
    await writeSecretFile(file.path, sealed);
    return changedResult([{ file: name, changed: true }]);
  },
});

/** What cannot be encrypted, such as YAML with a fault, goes back to the editor if the person wants that. */
async function editUntilGood(
  ctx: Context,
  text: PrivateFile,
  seal: (content: Buffer) => Promise<string>,
): Promise<string> {
  for (;;) {
    const content = await ctx.foreground(() => text.edit());
    try {
      return await seal(content);
    } catch (error) {
      const canAsk = ctx.interactive && ctx.globals.yes !== true;
      if (!(error instanceof UserError) || !canAsk) throw error;
      if (!(await ctx.confirm(`${error.at ?? "The text"}: ${error.message}. Edit it again?`))) throw error;
    }
  }
}
