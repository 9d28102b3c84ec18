import { writeSecretFile } from "@kws/platform/secrets/files";
import { updateFileKeys } from "@kws/platform/secrets/operations";
import { defineCommand } from "../../command.ts";
import { configOption, filesArgument, inputTypeOption, openTools, readFileArgument } from "../../secrets.ts";

export const command = defineCommand({
  summary: "bring the recipients of files in line with the creation rules",
  description:
    "Wraps the data keys of files for the recipients that their creation rules name now, and asks before it does. Values stay as " +
    "they are; `kws secrets rotate` locks out those who have had the data key.",
  args: [filesArgument],
  options: { "input-type": inputTypeOption, config: configOption },
  examples: ["kws secrets updatekeys chart/profiles/*/secrets.yaml --yes"],
  async run({ args, options }, ctx) {
    const tools = await openTools(ctx, options);
    const updates = [];
    for (const name of args) {
      const file = await readFileArgument(ctx, name, options);
      updates.push({ name, file, ...(await updateFileKeys(file, tools)) });
    }
    const changing = updates.filter(({ changed }) => changed);
    const text = updates
      .flatMap(({ name, changed, added, removed }) => [
        `${name}: ${changed ? "other recipients" : "unchanged"}`,
        ...added.map((key) => `  + ${key}`),
        ...removed.map((key) => `  - ${key}`),
      ])
      .join("\n");
    if (changing.length > 0 && ctx.globals.yes !== true) ctx.stderr.write(`${text}\n`);
    const agreed = changing.length === 0 || (await ctx.confirm("Change the recipients?"));
    if (agreed) for (const { file, content } of changing) await writeSecretFile(file.path, content);
    const data = updates.map(({ name, changed, added, removed }) => ({
      file: name,
      changed: changed && agreed,
      added,
      removed,
    }));
    return { data, text: agreed ? text : "Nothing was changed." };
  },
});
