import { listImages } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../command.ts";
import { imageTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "the images that embedded clusters can run",
  examples: ["kws image list", "kws image list -o json"],
  async run(_input, ctx) {
    const images = await listImages(ctx.locations.data);
    return { data: images, table: imageTable(images) };
  },
});
