import { formatAge } from "@kws/base/duration";
import { listManifests } from "@kws/platform/releases/manifest";
import { defineCommand } from "../../command.ts";
import { packageSource, registryOption } from "../../deploying.ts";

export const command = defineCommand({
  summary: "the manifests that there are",
  args: [
    {
      name: "name",
      description: "the manifests of this name; those named after the workspace's stacks unless given",
      completes: "stacks",
    },
  ],
  options: { registry: registryOption },
  examples: ["kws manifest list", "kws manifest list shop -o json"],
  async run({ args: [name], options }, ctx) {
    const { signal } = ctx;
    const project = await ctx.project();
    const source = await packageSource(ctx, project, options.registry);
    const names = name === undefined ? project.stacks.map((stack) => stack.name) : [name];
    const manifests = await listManifests(source, [...new Set(names)], { signal });
    const rows = manifests.map(({ name, number, packages, created, digest }) => [
      `${name}:${number}`,
      String(packages),
      formatAge(ctx.clock() - Date.parse(created)),
      digest.slice(0, 19),
    ]);
    return { data: manifests, table: { columns: ["MANIFEST", "PACKAGES", "COMMITTED", "DIGEST"], rows } };
  },
});
