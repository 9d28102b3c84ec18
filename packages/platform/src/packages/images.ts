/** The images of a package on their way to the cluster: those that no registry has go there from this machine. */
import { copy } from "@kws/oci/copy";
import { localRegistry, type Provider } from "../providers/provider.ts";
import type { FoundPackage, PackageSource } from "./fetch.ts";
import { tagOf } from "./version.ts";

type LocalImages = FoundPackage["images"];

/** Those that the cluster cannot pull. */
export function localImages({ images }: FoundPackage): LocalImages {
  return images.filter(({ repository }) => repository.startsWith(`${localRegistry}/`));
}

/** False where the cluster had them all. */
export async function importImages(
  { images, version }: { images: LocalImages; version: string },
  { source, provider, signal }: { source: PackageSource; provider: Provider; signal: AbortSignal },
): Promise<boolean> {
  const copied = await Promise.all(
    images.map(async ({ repository, digest }) => {
      const [from, to] = [source.repository(repository), await provider.imageRepository(repository)];
      if ((await to.resolve(digest, { signal })) !== undefined) return false;
      const { descriptor } = await from.manifest(digest, { signal });
      await copy(from, to, descriptor, { signal, tag: tagOf(version) });
      return true;
    }),
  );
  return copied.includes(true);
}
