import { choosePackages, pinnedBy } from "@kws/platform/packages/prune";
import { openPackageStore } from "@kws/platform/packages/store";
import { defineCommand } from "../../command.ts";
import { refusePinned, removePackages, removingOptions, stillPinned } from "../../removing.ts";

export const command = defineCommand({
  summary: "remove packages from this machine",
  description:
    "Removes packages and their images from this machine; registries keep theirs. One that is deployed in the cluster, or that a " +
    "manifest of this machine pins, stays unless --force is given.",
  args: [
    {
      name: "packages",
      description:
        "`service`, all of its versions; `service:version`; or the chart as `kws package list` has it",
      required: true,
      variadic: true,
      completes: "services",
    },
  ],
  options: removingOptions,
  examples: ["kws package remove orders:1.3.0", "kws package remove orders payments --yes"],
  async run({ args, options }, ctx) {
    const store = await openPackageStore(ctx.locations.data);
    const gone = choosePackages(await store.list(), args);
    const pinned = await stillPinned(ctx, store, options);
    for (const one of gone) refusePinned(one, pinnedBy(pinned, one));
    return removePackages(ctx, { store, gone, options });
  },
});
