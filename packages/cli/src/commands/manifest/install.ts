import { resolve } from "node:path";
import { limiter } from "@kws/base/limiter";
import { waves } from "@kws/platform/project/graph";
import { deploy } from "@kws/platform/releases/deploy";
import { fetchesAtATime } from "@kws/platform/releases/fetch";
import { fetchManifest, readManifestFile } from "@kws/platform/releases/manifest";
import { prepare } from "@kws/platform/releases/prepare";
import { secretOpener } from "@kws/platform/secrets/open";
import { defineCommand } from "../../command.ts";
import {
  checkProfiles,
  chosenProfile,
  deployedTable,
  deployOptions,
  deploySettings,
  packageSource,
  profilesOption,
  stackNamedFor,
  workFolder,
} from "../../deploying.ts";

export const command = defineCommand({
  summary: "deploy the packages of a manifest",
  description:
    "Deploys every package that the manifest pins as `kws deploy` does: a release for each service, those that others depend on " +
    "first, each with the manifest's profile. A service that does not become ready is rolled back, and nothing that comes after it is begun.",
  args: [
    {
      name: "manifest",
      description: "its name, the newest; `name:number`; or the path of its archive",
      required: true,
    },
  ],
  options: { profile: profilesOption, ...deployOptions },
  examples: [
    "kws manifest install shop -n qa1",
    "kws manifest install shop:12 -n qa1 -p qa1 --reason 'tests of the new totals'",
    "kws manifest install dist/shop-12.0.0.tgz -n qa1",
  ],
  async run({ args: [reference = ""], options }, ctx) {
    const { signal } = ctx;
    const project = await ctx.project();
    const source = await packageSource(ctx, project, options.registry);
    const isFile = reference.includes("/") || reference.endsWith(".tgz");
    const manifest = isFile
      ? await readManifestFile(resolve(ctx.cwd, reference))
      : await fetchManifest(source, reference, { signal });
    const given = options.profile ?? [];
    checkProfiles(
      given,
      manifest.packages.map(({ service }) => service),
    );
    const stack = stackNamedFor(project, manifest.name, ctx.globals.namespace);
    const steps = ctx.steps();
    const decrypt = secretOpener(ctx, signal);
    await using work = await workFolder(ctx);
    const limit = limiter(fetchesAtATime);
    const prepared = await steps.run({ id: "fetch", title: "fetch the packages" }, () =>
      Promise.all(
        manifest.packages.map((one) => {
          const profile = chosenProfile(given, one.service)?.profile ?? one.profile;
          const options = { source, folder: work.path, decrypt, profile, settings: [], signal };
          return limit(() => prepare(one, options));
        }),
      ),
    );
    const settings = await deploySettings(ctx, {
      project,
      stack,
      source,
      provider: await ctx.provider(),
      steps,
      start: true,
      reason: options.reason ?? `manifest ${manifest.name}:${manifest.number}`,
      timeout: options.timeout,
    });
    const order = waves(manifest.packages.map(({ service: name, dependsOn }) => ({ name, dependsOn })));
    const deployed = await deploy(
      order.map((names) => prepared.filter(({ found }) => names.includes(found.service))),
      settings,
    );
    return {
      data: { manifest: manifest.name, number: manifest.number, services: deployed },
      table: deployedTable(deployed),
    };
  },
});
