import { UserError } from "@kws/base/errors";
import { writeLinks } from "@kws/platform/project/links";
import { suggest } from "@kws/platform/project/nearest";
import { defineCommand } from "../command.ts";

export const command = defineCommand({
  summary: "take services from where kws.yaml says again",
  description: "Removes links from kws.local.yaml. The linked folders stay as they are.",
  args: [
    { name: "services", description: "the services", required: true, variadic: true, completes: "services" },
  ],
  examples: ["kws unlink orders"],
  async run({ args: names }, ctx) {
    const project = await ctx.project();
    const { links = {} } = project.local.settings;
    const stray = names.find((name) => !Object.hasOwn(links, name));
    if (stray !== undefined) {
      throw new UserError(`"${stray}" is not linked`, {
        code: "not-found",
        fix: suggest(stray, Object.keys(links), "See the links with `kws link`."),
      });
    }
    await writeLinks(project, Object.fromEntries(names.map((name) => [name, undefined])));
    return { data: { unlinked: names }, text: `${names.join(", ")}: as kws.yaml says.` };
  },
});
