/** Content by digest: what names it, and the check that it is what its name says. */
import { createHash } from "node:crypto";
import { UserError } from "@kws/base/errors";

export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  /** Uncompressed: on one machine the processor's time is worth more than the disk's space. */
  layer: "application/vnd.oci.image.layer.v1.tar",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
} as const;

/** https://github.com/opencontainers/image-spec/blob/main/descriptor.md */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
  platform?: { architecture?: string; os?: string; variant?: string };
}

/** The one algorithm that is read and written; registries know no other that matters. */
export const digestPattern = /^sha256:[0-9a-f]{64}$/;

export function sha256(content: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

/** The hexadecimal part of a digest. */
export function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

/**
 * The content as it comes; rejects as soon as it is longer than the descriptor says, and at its end where size or digest
 * differ. So nothing may be used before the end. `where` is the content's place in errors.
 */
export async function* verified(
  content: AsyncIterable<Uint8Array>,
  { digest, size }: Pick<Descriptor, "digest" | "size">,
  where: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let seen = 0;
  for await (const chunk of content) {
    seen += chunk.length;
    if (seen > size) throw damaged(where, `is longer than the ${size} bytes it should have`);
    hash.update(chunk);
    yield chunk;
  }
  if (seen < size) throw damaged(where, `ended after ${seen} of ${size} bytes`);
  const actual = `sha256:${hash.digest("hex")}`;
  if (actual !== digest) throw damaged(where, `should be ${digest} and is ${actual}`);
}

export function damaged(where: string, what: string): UserError {
  return new UserError(`${where}: the content ${what}`, {
    fix: "Fetch or export it again; it was damaged or changed on its way. Where that does not help, push it again.",
  });
}
