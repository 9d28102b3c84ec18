import { UserError } from "@kws/base/errors";
import { profileNames, unknownProfile } from "@kws/platform/charts/profiles";
import { whatChanges } from "@kws/platform/releases/changes";
import { deploy } from "@kws/platform/releases/deploy";
import { unitOf } from "@kws/platform/releases/unit";
import { fetchPackage } from "@kws/platform/packages/fetch";
import { openPackage } from "@kws/platform/packages/prepare";
import { secretOpener } from "@kws/platform/secrets/open";
import { defineCommand } from "../command.ts";
import {
  changesResult,
  changesSettings,
  deployedTable,
  deployOptions,
  deploySettings,
  packageSource,
  profileOption,
  stackFor,
  workFolder,
} from "../deploying.ts";
import { defaultTimeoutMs, fetchedWithin } from "../waiting.ts";

export const command = defineCommand({
  summary: "install or upgrade one service from its package",
  description:
    "Takes the service's package from the registry, or from this machine where none is set, opens the profile's secrets in memory, " +
    "and installs it with Helm. Waits until the service is ready; one that does not become ready is rolled back, or removed where " +
    "there was none before. Who deployed what, from which version and why stands in `helm history`.",
  args: [{ name: "service", description: "the service", required: true, completes: "services" }],
  options: {
    version: {
      type: "string",
      value: "version",
      description: "the package's version; the newest that was made from a commit unless given",
    },
    profile: profileOption,
    ...deployOptions,
    set: {
      type: "list",
      value: "key=value",
      description:
        "a value over those of the profile, not for secrets: arguments can be seen; may be repeated",
    },
    "dry-run": { type: "boolean", description: "check everything and tell what would change" },
  },
  examples: [
    "kws deploy orders -p qa1",
    "kws deploy orders -p production -n shop --version 1.4.0 --reason 'fixes the totals'",
    "kws deploy orders -p qa1 --set replicas=3 --dry-run",
  ],
  async run({ args: [service = ""], options }, ctx) {
    const { profile, reason, timeout } = options;
    if (profile === undefined) {
      throw new UserError("a package is deployed with a profile", {
        code: "usage",
        fix: `Name it: kws deploy ${service} --profile qa1. \`kws profile list ${service}\` shows those that there are.`,
      });
    }
    const project = await ctx.project();
    const stack = stackFor(project, profile, ctx.globals.namespace);
    const source = await packageSource(ctx, project, options.registry);
    const steps = ctx.steps();
    await using work = await workFolder(ctx);
    const prepared = await steps.run({ id: `fetch ${service}`, title: `fetch ${service}` }, async (step) => {
      const settings = options.set ?? [];
      const found = await fetchedWithin(
        (signal) => fetchPackage(source, { service, version: options.version }, { signal }),
        { service, ms: timeout ?? defaultTimeoutMs, signal: ctx.signal },
      );
      const decrypt = secretOpener(ctx, ctx.signal);
      const one = await openPackage(found, { folder: work.path, decrypt, profile, settings });
      step.note(one.found.version);
      return one;
    });
    const { chart } = prepared;
    if (!chart.hasProfile) {
      const name = `${service} ${prepared.found.version}`;
      throw unknownProfile(name, profile, await profileNames(chart.dir));
    }
    const provider = await ctx.provider();
    if (options["dry-run"] === true) {
      return changesResult(await whatChanges(prepared, await changesSettings(ctx, { stack, provider })));
    }
    const request = { project, stack, source, provider, steps, start: true, reason, timeout };
    const deployed = await deploy([[unitOf(prepared)]], await deploySettings(ctx, request));
    return { data: deployed[0], table: deployedTable(deployed) };
  },
});
