import { pullImage } from "@kws/platform/providers/embedded";
import { defineCommand } from "../../command.ts";
import { imageTable } from "../../tables.ts";

export const command = defineCommand({
  summary: "take an image from its registry",
  description:
    "Fetches what is not here yet of the image that the registry has for this machine, so that embedded clusters can run it and " +
    "builds can stand on it. The registry is shown what `docker login` or `helm registry login` have left.",
  args: [{ name: "reference", description: "the image's name", required: true }],
  examples: ["kws image pull registry.example.com/team/orders:1.2.0"],
  async run({ args: [reference = ""] }, ctx) {
    const { locations, childEnv, signal } = ctx;
    const image = await ctx.steps().run({ id: "pull", title: `pull ${reference}` }, (step) =>
      pullImage({ home: locations.data, env: childEnv }, reference, {
        signal,
        onProgress: (text) => step.detail(text),
      }),
    );
    return { data: image, table: imageTable([image]) };
  },
});
