import { defineCommand } from "../../command.ts";
import { packageSource, registryOption } from "../../deploying.ts";
import { manifestArgument, openManifest } from "../../manifests.ts";

export const command = defineCommand({
  summary: "what a manifest pins",
  args: [manifestArgument],
  options: { registry: registryOption },
  examples: ["kws manifest show shop", "kws manifest show shop:12 -o json"],
  async run({ args: [reference = ""], options }, ctx) {
    const source = await packageSource(ctx, await ctx.project(), options.registry);
    const manifest = await openManifest(ctx, source, reference);
    return {
      data: manifest,
      table: {
        columns: ["SERVICE", "VERSION", "PROFILE", "DIGEST", "AFTER"],
        rows: manifest.packages.map(({ service, version, profile, digest, dependsOn }) => [
          service,
          version,
          profile,
          digest.slice(0, 19),
          dependsOn.join(", "),
        ]),
      },
    };
  },
});
