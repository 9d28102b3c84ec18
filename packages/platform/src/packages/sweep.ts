/**
 * What no reference of an OCI image layout reaches any more. A blob that was reached a moment ago goes at once; one that nothing
 * names may belong to a push that is under way, and stays for a while.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "@kws/base/errors";
import type { Blobs } from "@kws/oci/blobs";
import { type Descriptor, hexOf } from "@kws/oci/descriptor";
import type { Layout } from "@kws/oci/layout";
import { parseDocument, readIndex, readManifest } from "@kws/oci/manifest";

export interface Swept {
  blobs: number;
  bytes: number;
}

/** No push takes longer. */
const unnamedMs = 24 * 3_600_000;

/** The digests of all that the descriptors lead to, themselves among them. */
export async function reachable(blobs: Blobs, descriptors: Descriptor[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const { digest } of descriptors) {
    if (found.has(digest)) continue;
    found.add(digest);
    const document = parseDocument(await blobs.read(digest), digest);
    const children = readIndex(document, digest);
    if (children === undefined) {
      const { config, layers } = readManifest(document, digest);
      for (const blob of [config, ...layers]) found.add(blob.digest);
    } else {
      for (const digest of await reachable(blobs, children)) found.add(digest);
    }
  }
  return found;
}

/** `before`: what was reachable until now. `now` in milliseconds since the epoch. */
export async function sweep(
  { dir }: Pick<Layout, "dir">,
  { before, keep, now }: { before: Set<string>; keep: Set<string>; now: number },
): Promise<Swept> {
  const [was, is] = [new Set([...before].map(hexOf)), new Set([...keep].map(hexOf))];
  const folder = join(dir, "blobs", "sha256");
  const swept: Swept = { blobs: 0, bytes: 0 };
  for (const name of await readdir(folder)) {
    if (is.has(name)) continue;
    const path = join(folder, name);
    try {
      const { size, ctimeMs } = await stat(path);
      if (!was.has(name) && now - ctimeMs < unnamedMs) continue;
      await rm(path);
      swept.blobs += 1;
      swept.bytes += size;
    } catch (error) {
      // Another process was faster.
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
  return swept;
}
