import { resolve } from "node:path";
import { importImage } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../command.ts";
import { imageTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "take an image from an archive",
  description:
    "Reads what `docker save`, `podman save` or another tool wrote, compressed or not, so that embedded clusters can run it without a registry.",
  args: [{ name: "archive", description: "the archive's path", required: true }],
  options: {
    name: {
      type: "string",
      value: "reference",
      description: "a name for the image, besides those in the archive",
    },
  },
  examples: ["kws image import agnhost.tar", "kws image import image.tar.gz --name team/orders:1.2.0"],
  async run({ args: [archive = ""], options }, ctx) {
    const image = await ctx
      .steps()
      .run({ id: "import", title: `import ${archive}` }, () =>
        importImage(ctx.locations.data, resolve(ctx.cwd, archive), options.name),
      );
    return { data: image, table: imageTable([image]) };
  },
});
