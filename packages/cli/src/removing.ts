/** What `kws package remove` and `kws package prune` have in common: what stays, the question, and how it is told. */
import { UserError } from "@kws/base/errors";
import { type Pinned } from "@kws/platform/packages/prune";
import type { PackageStore, StoredPackage } from "@kws/platform/packages/store";
import { pinnedPackages } from "@kws/platform/releases/pinned";
import { listReleases } from "@kws/platform/services/releases";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import { packageTable } from "./packaging.ts";

export const removingOptions = {
  force: { type: "boolean", description: "also what is deployed, or pinned by a manifest of this machine" },
  "dry-run": { type: "boolean", description: "tell what would be removed" },
} as const;

export interface Removing {
  force?: boolean | undefined;
  "dry-run"?: boolean | undefined;
}

/** What must stay. A cluster that does not run has images of its own, and is not asked. */
export async function stillPinned(ctx: Context, store: PackageStore, options: Removing): Promise<Pinned> {
  if (options.force === true) return new Map();
  const provider = await ctx.provider();
  const running = (await provider.status()).state === "running";
  const releases = running
    ? await listReleases((await ctx.connect(provider)).client, { signal: ctx.signal })
    : [];
  return pinnedPackages(store, releases);
}

/** Asks, and removes. */
export async function removePackages(
  ctx: Context,
  { store, gone, options }: { store: PackageStore; gone: StoredPackage[]; options: Removing },
): Promise<Result> {
  const table = packageTable(gone, ctx.clock());
  const what = gone.length === 1 ? "1 package" : `${gone.length} packages`;
  if (options["dry-run"] === true) {
    return { data: { removed: gone, blobs: 0, bytes: 0 }, table, text: "Nothing was changed." };
  }
  // What was left behind by something that was killed goes without a question.
  const isSure = gone.length === 0 || (await ctx.confirm(`Remove ${what} from this machine?`));
  if (!isSure) return { text: "Nothing was changed." };
  const swept = await store.remove(gone, ctx.clock());
  const freed =
    swept.bytes < 2 ** 20
      ? `${Math.ceil(swept.bytes / 1024)} KiB`
      : `${(swept.bytes / 2 ** 20).toFixed(1)} MiB`;
  return { data: { removed: gone, ...swept }, table, text: `${what} removed, ${freed} freed.` };
}

/** Throws `conflict` for one that must stay. */
export function refusePinned({ chart }: StoredPackage, by: string | undefined): void {
  if (by === undefined) return;
  throw new UserError(`${chart} is ${by}`, {
    code: "conflict",
    fix: "Remove it all the same with --force: it can be packaged again from its commit.",
  });
}
