import { publishPackage, userRegistries } from "@kws/platform/packages/publish";
import { defineCommand } from "../command.ts";
import { packageArguments, packageOptions, packageServices, packageTable } from "../packaging.ts";

export const command = defineCommand({
  summary: "bring services' packages to a registry",
  description:
    "Packages the services as `kws package` does, and pushes images and charts to the registry, from where plain Helm installs " +
    "them too. A version that is published stays as it is: the same content again is nothing to do, other content is an error. " +
    "Without a registry the packages stay on this machine.",
  args: [...packageArguments],
  options: packageOptions,
  examples: ["kws publish", "kws publish orders --registry registry.example.com/shop"],
  async run({ args, options }, ctx) {
    const { steps, store, registry, packages } = await packageServices(ctx, {
      names: args,
      version: options.version,
      registry: options.registry,
      pull: options.pull,
      allowDirty: false,
    });
    const table = packageTable(packages, ctx.clock());
    if (registry === undefined) {
      return {
        data: packages.map((one) => ({ ...one, pushed: false })),
        table,
        text: "No registry is set, so the packages are on this machine alone: set `registry` in kws.yaml, or give --registry.",
      };
    }
    const registries = userRegistries(ctx.childEnv);
    const published = [];
    for (const one of packages) {
      const id = `publish ${one.service}`;
      const pushed = await steps.run({ id, title: id, after: [`package ${one.service}`] }, async (step) => {
        const done = await publishPackage(one, { store, registries, signal: ctx.signal });
        if (!done) step.skip("unchanged");
        return done;
      });
      published.push({ ...one, pushed });
    }
    return { data: published, table };
  },
});
