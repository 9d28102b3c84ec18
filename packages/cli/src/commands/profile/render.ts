import { effectiveValues } from "@kws/platform/charts/layers";
import { redactManifests, redactValues } from "@kws/platform/charts/redact";
import { renderManifests } from "@kws/platform/charts/render";
import { locateTool } from "@kws/platform/tools/locate";
import { parseAllDocuments, stringify } from "yaml";
import { defineCommand } from "../../command.ts";
import { openProfile, profileOption, revealOption, serviceArgument } from "../../profiles.ts";
import { printable } from "../../style.ts";

export const command = defineCommand({
  summary: "the values of a chart with a profile, merged, or the manifests that Helm makes of them",
  description:
    "The values that a chart's templates see with a profile: the chart's own, then those of the profile's bases, then the " +
    "profile's, of each the values and then the secrets. Secrets are hidden.",
  args: [serviceArgument],
  options: {
    profile: profileOption,
    manifests: { type: "boolean", description: "render the chart with Helm" },
    reveal: revealOption,
  },
  examples: ["kws profile render orders -p qa1", "kws profile render orders -p qa1 --manifests"],
  async run({ args: [service = ""], options }, ctx) {
    const chart = await openProfile(ctx, service, options.profile);
    if (options.manifests !== true) {
      const values = options.reveal === true ? effectiveValues(chart.layers) : redactValues(chart.layers);
      return { data: values, text: stringify(values) };
    }
    const { childEnv: env, locations, signal } = ctx;
    const { path } = await locateTool("helm", { env, cache: locations.cache, signal });
    const namespace = ctx.globals.namespace ?? "default";
    const rendered = await renderManifests(chart, { helm: path, release: service, namespace, env, signal });
    const text = options.reveal === true ? rendered : redactManifests(rendered, chart.layers);
    return {
      data: parseAllDocuments(text).map((document): unknown => document.toJS()),
      text: printable(text),
    };
  },
});
