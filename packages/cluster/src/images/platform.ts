/** Which of an index's images is for this machine. */
import { UserError } from "@kws/base/errors";
import type { Blobs } from "@kws/oci/blobs";
import type { Descriptor } from "@kws/oci/descriptor";
import { ociArchitecture, readIndex } from "@kws/oci/manifest";

/** An index may hold indexes; no tool makes more levels. */
const deepestIndex = 3;

/** The first entry for this platform, or one that names none; throws where there is neither. */
export function chooseHere(entries: Descriptor[], where: string): Descriptor {
  const mine = ociArchitecture(process.arch);
  const fits = ({ platform }: Descriptor) =>
    platform?.architecture === mine && (platform.os === undefined || platform.os === "linux");
  const chosen = entries.find(fits) ?? entries.find(({ platform }) => platform === undefined);
  if (chosen !== undefined) return chosen;
  const others = entries.map(({ platform }) => `${platform?.os ?? "?"}/${platform?.architecture ?? "?"}`);
  throw new UserError(`${where} has no image for linux/${mine}, but for ${[...new Set(others)].join(", ")}`, {
    code: "config",
    fix: "Use an image that was built for this machine's platform.",
  });
}

/** The digest of the manifest for this machine: the one given, or the one that an index there leads to. */
export async function manifestHere(blobs: Blobs, digest: string, where: string): Promise<string> {
  let at = digest;
  for (let depth = 0; depth <= deepestIndex; depth++) {
    const index = readIndex(await blobs.json(at), where);
    if (index === undefined) return at;
    at = chooseHere(index, where).digest;
    if (!(await blobs.has(at))) return at;
  }
  throw new UserError(`${where}: indexes are nested too deeply`, { code: "config" });
}
