/** What an image says of itself, where the cluster's images can be read from this machine. */
import { UserError } from "@kws/base/errors";
import {
  type ImageConfig,
  parseDocument,
  readImageDocument,
  readIndex,
  readManifest,
} from "@kws/oci/manifest";
import { isReference, parseReference } from "@kws/oci/reference";
import type { Provider } from "../providers/provider.ts";

/** Undefined where it cannot be had: then kws.yaml has to say what would be read from it. */
export async function readImageConfig(
  provider: Provider,
  image: string,
  signal: AbortSignal,
): Promise<ImageConfig | undefined> {
  if (!isReference(image)) return undefined;
  const { name, tag, digest } = parseReference(image);
  try {
    const repository = await provider.imageRepository(name);
    let content = await repository.manifest(digest ?? tag ?? "latest", { signal });
    const [first] = readIndex(parseDocument(content.bytes, image), image) ?? [];
    if (first !== undefined) content = await repository.manifest(first.digest, { signal });
    const { config } = readManifest(parseDocument(content.bytes, image), image);
    const chunks: Uint8Array[] = [];
    for await (const chunk of repository.blob(config, { signal })) chunks.push(chunk);
    return readImageDocument(parseDocument(Buffer.concat(chunks), image), image).config;
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}
