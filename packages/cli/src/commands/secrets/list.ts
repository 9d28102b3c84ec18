import { openKeys } from "@kws/platform/secrets/open";
import { type ListedFile, listSecrets } from "@kws/platform/secrets/report";
import { defineCommand } from "../../command.ts";
import type { Context } from "../../context.ts";
import { projectServices, shortPlace } from "../../profiles.ts";
import { foldersOf, keyAge } from "../../secrets.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "the encrypted files, for whom they are, and whether you can open them",
  description:
    "Lists the encrypted files that git has or would add, with the service and the profile that they belong to, their recipients, " +
    "the age of their data keys, and whether a key of yours opens them.",
  args: [{ name: "folders", description: "the workspace and its services unless given", variadic: true }],
  examples: ["kws secrets list", "kws secrets list ~/src/shop -o json"],
  async run({ args }, ctx) {
    const { childEnv: env, signal } = ctx;
    const folders = await foldersOf(ctx, args);
    const files = await listSecrets({ folders, env, signal }, await openKeys(ctx, signal));
    const ownerOf = await owners(ctx);
    const data = files.map((file) => Object.assign(ownerOf(file), file));
    const rows = data.map((one) => [
      one.service ?? "",
      one.profile ?? "",
      printable(shortPlace(ctx, one.file)),
      one.format,
      keyAge(ctx, one),
      one.opens ? "yes" : "no",
      one.recipients.join(", "),
    ]);
    const columns = ["SERVICE", "PROFILE", "FILE", "FORMAT", "KEY AGE", "OPENS", "RECIPIENTS"];
    if (rows.length === 0) return { data, text: "There are no encrypted files." };
    return { data, table: { columns, rows } };
  },
});

/** Whose a file is: the innermost service that holds it, and the profile in whose folder it is. */
async function owners(ctx: Context): Promise<(file: ListedFile) => { service?: string; profile?: string }> {
  const services = (await ctx.findProject()) === undefined ? [] : await projectServices(ctx);
  const innermost = services.toSorted((a, b) => b.dir.length - a.dir.length);
  return ({ file }) => {
    const service = innermost.find(({ dir }) => file.startsWith(`${dir}/`))?.name;
    const profile = /\/profiles\/([^/]+)\/[^/]+$/.exec(file)?.[1];
    return { ...(service === undefined ? {} : { service }), ...(profile === undefined ? {} : { profile }) };
  };
}
