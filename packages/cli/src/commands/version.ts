import { locateTool } from "@kws/platform/tools/locate";
import { UserError } from "@kws/base/errors";
import { defineCommand } from "../command.ts";

export const command = defineCommand({
  summary: "the versions of kws and of the programs that it runs",
  examples: ["kws version", "kws version -o json"],
  async run(_input, ctx) {
    const options = { env: ctx.childEnv, cache: ctx.locations.cache, signal: ctx.signal };
    const tools = await Promise.all(
      (["helm", "kubectl"] as const).map(async (name) => {
        try {
          const { version, path, source } = await locateTool(name, options);
          return { name, version, path, source };
        } catch (error) {
          if (error instanceof UserError) return { name, version: "", path: "", source: error.message };
          throw error;
        }
      }),
    );
    const data = {
      kws: ctx.version,
      node: process.version.slice(1),
      ...Object.fromEntries(tools.map((tool) => [tool.name, tool])),
    };
    const rows = [
      ["kws", ctx.version, ""],
      ["node", data.node, ctx.nodePath],
      ...tools.map(({ name, version, path, source }) => [
        name,
        version,
        path === "" ? source : `${path} (${source})`,
      ]),
    ];
    return { data, table: { columns: ["PROGRAM", "VERSION", "FROM"], rows } };
  },
});
