import { waves } from "@kws/platform/project/graph";
import { deploy } from "@kws/platform/releases/deploy";
import { listReleases } from "@kws/platform/services/releases";
import { chooseForm, planUmbrella, releaseLimit } from "@kws/platform/releases/umbrella";
import { unitOf } from "@kws/platform/releases/unit";
import { defineCommand } from "../../command.ts";
import {
  deployedTable,
  deployOptions,
  deploySettings,
  packageSource,
  profilesOption,
  stackNamedFor,
  workFolder,
} from "../../deploying.ts";
import { manifestArgument, openManifest, prepareManifest } from "../../manifests.ts";

export const command = defineCommand({
  summary: "deploy the packages of a manifest",
  description:
    "Deploys the packages that the manifest pins, each with the manifest's profile, as one Helm release: it is ready as a whole, or " +
    "rolled back as a whole. Where that cannot be, or with --per-service, it makes a release for each service as `kws deploy` does, those " +
    "that others depend on first, and says why: the release would be larger than Helm can keep, a service that depends on another has " +
    "hooks that run before anything is installed, or objects would have other names. A namespace keeps the form that it has.",
  args: [manifestArgument],
  options: {
    profile: profilesOption,
    "per-service": {
      type: "boolean",
      description: "a release for each service, so that `kws deploy` can change them one by one",
    },
    ...deployOptions,
  },
  examples: [
    "kws manifest install shop -n qa1",
    "kws manifest install shop:12 -n qa1 -p qa1 --reason 'tests of the new totals'",
    "kws manifest install dist/shop-12.0.0.tgz -n qa1",
  ],
  async run({ args: [reference = ""], options }, ctx) {
    const { signal } = ctx;
    const project = await ctx.project();
    const source = await packageSource(ctx, project, options.registry);
    const manifest = await openManifest(ctx, source, reference);
    const stack = stackNamedFor(project, manifest.name, ctx.globals.namespace);
    const steps = ctx.steps();
    await using work = await workFolder(ctx);
    const given = options.profile ?? [];
    const prepared = await steps.run({ id: "fetch", title: "fetch the packages" }, () =>
      prepareManifest(ctx, manifest, { source, folder: work.path, given, timeoutMs: options.timeout }),
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
    const { client, kubeconfig } = settings.connection;
    const { namespace } = stack;
    const there = await listReleases(client, { signal });
    const form = await steps.run({ id: "form", title: "choose the form", after: ["fetch"] }, async (step) => {
      const { helm, env } = settings;
      const chosen = await chooseForm(
        {
          there: there.filter((release) => release.namespace === namespace),
          perService: options["per-service"] === true,
        },
        () => {
          const rendering = { source, folder: work.path, helm, env, signal, namespace, kubeconfig };
          return planUmbrella(manifest, prepared, rendering);
        },
      );
      step.note(`${chosen.together ? "one release" : "a release for each service"}: ${chosen.reason}`);
      return chosen;
    });
    const { together, reason, umbrella } = form;
    const order = waves(manifest.packages.map(({ service: name, dependsOn }) => ({ name, dependsOn })));
    const deployed = await deploy(
      together && umbrella !== undefined
        ? [[umbrella.unit]]
        : order.map((names) => prepared.filter(({ found }) => names.includes(found.service)).map(unitOf)),
      settings,
    );
    return {
      data: {
        manifest: manifest.name,
        number: manifest.number,
        oneRelease: together,
        reason,
        ...(umbrella === undefined ? {} : { releaseBytes: umbrella.size }),
        releaseLimit,
        services: deployed,
      },
      table: deployedTable(deployed),
    };
  },
});
