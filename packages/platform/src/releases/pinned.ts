/** Which packages are still needed: by the manifests of this machine, and by what is deployed. */
import type { PackageStore } from "../packages/store.ts";
import type { Pinned } from "../packages/prune.ts";
import type { Release } from "../services/releases.ts";
import { fetchManifest, listManifests } from "./manifest.ts";

export async function pinnedPackages(store: PackageStore, releases: Release[]): Promise<Pinned> {
  const pinned: Pinned = new Map();
  for (const { service, version, namespace } of releases) {
    if (version !== "") pinned.set(`${service}@${version}`, `deployed in the namespace ${namespace}`);
  }
  for (const repository of await store.manifests()) {
    const [prefix = "", name = ""] = repository.split("/manifests/");
    const source = { prefix, repository: (one: string) => store.repository(one) };
    for (const { number } of await listManifests(source, [name])) {
      const reference = `${name}:${number}`;
      const { packages } = await fetchManifest(source, reference);
      for (const { digest } of packages) pinned.set(digest, `in the manifest ${reference}`);
    }
  }
  return pinned;
}
