import { pinnedBy, prunable } from "@kws/platform/packages/prune";
import { openPackageStore } from "@kws/platform/packages/store";
import { UserError } from "@kws/base/errors";
import { defineCommand } from "../../command.ts";
import { removePackages, removingOptions, stillPinned } from "../../removing.ts";

export const command = defineCommand({
  summary: "remove old packages from this machine",
  description:
    "Keeps the newest packages of each service, and removes the others with their images; registries keep theirs. What is deployed " +
    "in the cluster, or pinned by a manifest of this machine, stays unless --force is given.",
  options: {
    keep: { type: "number", value: "count", description: "how many of each service stay; 5 unless given" },
    younger: {
      type: "duration",
      value: "duration",
      description: "keep also those whose commits are younger, such as 30d",
    },
    ...removingOptions,
  },
  examples: ["kws package prune", "kws package prune --keep 2 --younger 7d --dry-run"],
  async run({ options }, ctx) {
    const { keep = 5, younger = 0 } = options;
    if (!Number.isInteger(keep) || keep < 0) {
      throw new UserError(`--keep cannot be ${keep}`, {
        code: "usage",
        fix: "Give a number, or 0 for none.",
      });
    }
    const store = await openPackageStore(ctx.locations.data);
    const old = prunable(await store.list(), { keep, youngerMs: younger, now: ctx.clock() });
    const pinned = await stillPinned(ctx, store, options);
    const gone = old.filter((one) => pinnedBy(pinned, one) === undefined);
    const kept = old.length - gone.length;
    if (kept > 0 && !ctx.quiet) {
      ctx.stderr.write(`${kept} more stay: they are deployed, or manifests of this machine pin them.\n`);
    }
    return removePackages(ctx, { store, gone, options });
  },
});
