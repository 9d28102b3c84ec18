import { resolve } from "node:path";
import { exportChart } from "@kws/platform/packages/store";
import { defineCommand } from "../command.ts";
import { packageArguments, packageOptions, packageServices, packageTable } from "../packaging.ts";

export const command = defineCommand({
  summary: "make services' packages: images by digest and charts, from one commit",
  description:
    "Builds each service's images and packages its chart with them, its profiles and its encrypted secrets. The version comes " +
    "from git. The same commit gives the same bytes. The packages are kept on this machine; `kws publish` brings them to a registry.",
  args: [...packageArguments],
  options: {
    ...packageOptions,
    "allow-dirty": {
      type: "boolean",
      description: "package what is not committed too, as a version that says so and is never published",
    },
    destination: {
      type: "string",
      short: "d",
      value: "folder",
      description: "write the charts' archives there too",
    },
  },
  examples: ["kws package", "kws package orders --version 1.4.0", "kws package orders --destination dist"],
  async run({ args, options }, ctx) {
    const { store, packages } = await packageServices(ctx, {
      names: args,
      version: options.version,
      registry: options.registry,
      pull: options.pull,
      allowDirty: options["allow-dirty"] === true,
    });
    if (options.destination === undefined) {
      return { data: packages, table: packageTable(packages, ctx.clock()) };
    }
    const folder = resolve(ctx.cwd, options.destination);
    const written = await Promise.all(
      packages.map(async (one) => ({ ...one, file: await exportChart(store, one, folder) })),
    );
    return {
      data: written,
      table: packageTable(packages, ctx.clock()),
      text: written.map(({ file }) => `wrote ${file}`).join("\n"),
    };
  },
});
