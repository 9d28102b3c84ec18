import { join, resolve } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import { makeFolder } from "@kws/base/folder";
import { loadServices } from "@kws/platform/project/services";
import { findStack } from "@kws/platform/project/workspace";
import { type EntryRequest, openEntries, releaseSize } from "@kws/platform/releases/build-manifest";
import { fits, formatSize, releaseLimit } from "@kws/platform/releases/umbrella";
import { storeManifest } from "@kws/platform/releases/manifest";
import { locateTool } from "@kws/platform/tools/locate";
import { defineCommand } from "../../command.ts";
import {
  checkProfiles,
  chosenProfile,
  packageSource,
  profilesOption,
  registryOption,
  workFolder,
} from "../../deploying.ts";

export const command = defineCommand({
  summary: "pin packages together in an umbrella chart",
  description:
    "Makes a manifest: a chart that pins a package of each service by version and digest, with the values of its profile, the secrets " +
    "among them encrypted. It gets the next number of its name, unless nothing changed since the newest one, and is kept where the " +
    "packages are. `kws manifest install` deploys it; plain Helm installs it too, with what `kws manifest values --reveal` prints.",
  args: [
    {
      name: "packages",
      description:
        "`service` or `service=version`; without a version the newest; all services of the stack unless given",
      variadic: true,
      completes: "services",
    },
  ],
  options: {
    stack: {
      type: "string",
      short: "s",
      value: "name",
      description:
        "the stack that the manifest is for, and named after; the workspace's only one unless given",
      completes: "stacks",
    },
    profile: profilesOption,
    registry: registryOption,
    destination: {
      type: "string",
      short: "d",
      value: "folder",
      description: "write the chart's archive there too",
    },
  },
  examples: [
    "kws manifest build -p qa1",
    "kws manifest build orders=1.4.0 payments -p qa1 -p payments=qa2",
    "kws manifest build --stack shop --destination dist",
  ],
  async run({ args, options }, ctx) {
    const { childEnv: env, locations, signal } = ctx;
    const project = await ctx.project();
    const stack = findStack(project, options.stack);
    const versions = new Map(
      args.map((one) => {
        const [, service = "", version] = /^([^=]*)(?:=(.*))?$/.exec(one) ?? [];
        return [service, version];
      }),
    );
    const wanted = versions.size > 0 ? [...versions.keys()] : stack.services;
    const services = await loadServices(project, { cache: locations.cache, env, signal }, wanted);
    const names = services.map(({ name }) => name);
    const given = options.profile ?? [];
    checkProfiles(given, names);
    const source = await packageSource(ctx, project, options.registry);
    const steps = ctx.steps();
    await using work = await workFolder(ctx);
    const requests = services.map(({ name: service, dependsOn }): EntryRequest => {
      const version = versions.get(service);
      const profile = chosenProfile(given, service) ?? { profile: stack.profile, chosen: false };
      const inside = dependsOn.filter((name) => names.includes(name));
      return Object.assign({ service, version, dependsOn: inside }, profile);
    });
    const entries = await steps.run({ id: "fetch", title: "fetch the packages" }, () =>
      openEntries(requests, { source, folder: work.path, signal }),
    );
    const { archive, ...manifest } = await steps.run(
      { id: "manifest", title: `manifest ${stack.name}`, after: ["fetch"] },
      async (step) => {
        const stored = await storeManifest(source, stack.name, entries, { signal });
        if (!stored.changed) step.skip("unchanged");
        return stored;
      },
    );
    const helm = await locateTool("helm", { env, cache: locations.cache, signal });
    const releaseBytes = await releaseSize(
      { ...manifest, archive },
      { helm: helm.path, env, signal, folder: work.path },
    );
    const file =
      options.destination === undefined
        ? undefined
        : join(resolve(ctx.cwd, options.destination), `${manifest.name}-${manifest.number}.0.0.tgz`);
    if (file !== undefined) {
      await makeFolder(join(file, ".."));
      await replaceFile(file, archive);
    }
    // What does not render without its secrets is measured when they are there.
    const oneRelease = releaseBytes === undefined || fits(releaseBytes);
    const size =
      releaseBytes === undefined
        ? "How large it is for Helm is seen when its secrets are there."
        : `It has ${formatSize(releaseBytes)} in one release${oneRelease ? "" : ", so `kws manifest install` makes one for each service"}.`;
    return {
      data: {
        ...manifest,
        oneRelease,
        ...(releaseBytes === undefined ? {} : { releaseBytes }),
        releaseLimit,
        ...(file === undefined ? {} : { file }),
      },
      table: {
        columns: ["SERVICE", "VERSION", "PROFILE", "DIGEST"],
        rows: manifest.packages.map(({ service, version, profile, digest }) => [
          service,
          version,
          profile,
          digest.slice(0, 19),
        ]),
      },
      text: `\n${size}\n${manifest.name}:${manifest.number} is ${file ?? manifest.chart}`,
    };
  },
});
