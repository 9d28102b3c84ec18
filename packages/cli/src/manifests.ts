/** What the commands on manifests share: how one is named and found, and its packages made ready. */
import { resolve } from "node:path";
import { limiter } from "@kws/base/limiter";
import { profileNames, refuseUnknownProfiles } from "@kws/platform/charts/profiles";
import { fetchesAtATime, fetchPackage, type PackageSource } from "@kws/platform/packages/fetch";
import { fetchManifest, type Manifest, readManifestFile } from "@kws/platform/releases/manifest";
import { openPackage, type Prepared } from "@kws/platform/packages/prepare";
import { secretOpener } from "@kws/platform/secrets/open";
import type { Context } from "./context.ts";
import { checkProfiles, chosenProfile } from "./deploying.ts";
import { defaultTimeoutMs, fetchedWithin } from "./waiting.ts";

export const manifestArgument = {
  name: "manifest",
  description: "its name, the newest; `name:number`; or the path of its archive",
  required: true,
} as const;

export async function openManifest(
  ctx: Context,
  source: PackageSource,
  reference: string,
): Promise<Manifest> {
  const isFile = reference.includes("/") || reference.endsWith(".tgz");
  return isFile
    ? readManifestFile(resolve(ctx.cwd, reference))
    : fetchManifest(source, reference, { signal: ctx.signal });
}

/** Its packages with their profiles opened: the manifest's, or those that were given. The folder is private. */
export async function prepareManifest(
  ctx: Context,
  { packages }: Manifest,
  {
    source,
    folder,
    given,
    timeoutMs = defaultTimeoutMs,
  }: { source: PackageSource; folder: string; given: string[]; timeoutMs?: number | undefined },
): Promise<Prepared[]> {
  const { signal } = ctx;
  checkProfiles(
    given,
    packages.map(({ service }) => service),
  );
  const decrypt = secretOpener(ctx, signal);
  const limit = limiter(fetchesAtATime);
  const prepared = await Promise.all(
    packages.map((one) => {
      const profile = chosenProfile(given, one.service)?.profile ?? one.profile;
      return limit(async () => {
        const found = await fetchedWithin((within) => fetchPackage(source, one, { signal: within }), {
          service: one.service,
          ms: timeoutMs,
          signal,
        });
        return openPackage(found, { folder, decrypt, profile, settings: [] });
      });
    }),
  );
  const asked = prepared.map(async ({ found: { service, version }, chart }) => {
    const own = chosenProfile(given, service);
    // The manifest's own were looked at when it was built.
    if (own === undefined) return [];
    return [{ ...own, name: `${service} ${version}`, known: await profileNames(chart.dir) }];
  });
  refuseUnknownProfiles((await Promise.all(asked)).flat());
  return prepared;
}
