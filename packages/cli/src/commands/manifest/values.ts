import { redactValues } from "@kws/platform/charts/redact";
import { stringify } from "yaml";
import { defineCommand } from "../../command.ts";
import { packageSource, profilesOption, registryOption, workFolder } from "../../deploying.ts";
import { manifestArgument, openManifest, prepareManifest } from "../../manifests.ts";
import { revealOption } from "../../profiles.ts";

export const command = defineCommand({
  summary: "the values of a manifest's services, for plain Helm",
  description:
    "The values of each service's profile below the service's name, as the manifest's chart takes them. Secrets are hidden; with " +
    "--reveal they are in the clear, for Helm's standard input.",
  args: [manifestArgument],
  options: { profile: profilesOption, registry: registryOption, reveal: revealOption },
  examples: [
    "kws manifest values shop",
    "kws manifest values shop:12 --reveal | helm upgrade --install shop dist/shop-12.0.0.tgz --values -",
  ],
  async run({ args: [reference = ""], options }, ctx) {
    const source = await packageSource(ctx, await ctx.project(), options.registry);
    const manifest = await openManifest(ctx, source, reference);
    await using work = await workFolder(ctx);
    const given = options.profile ?? [];
    const prepared = await prepareManifest(ctx, manifest, { source, folder: work.path, given });
    const values = Object.fromEntries(
      prepared.map(({ found, chart }) => {
        const overDefaults = chart.layers.filter(({ kind }) => kind !== "defaults");
        return [found.service, options.reveal === true ? chart.values : redactValues(overDefaults)];
      }),
    );
    return { data: values, text: stringify(values) };
  },
});
