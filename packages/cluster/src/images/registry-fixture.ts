/** A registry in the test's own process that serves what the test has put into it, and keeps what it was asked. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import type { Descriptor } from "@kws/oci/descriptor";
import type { ImageConfig } from "@kws/oci/manifest";
import { ociArchitecture } from "@kws/oci/manifest";

export interface RegistryFixture extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  host: string;
  /** `METHOD path`, in order. */
  requests: string[];
  /** By tag or digest. */
  contents: Map<string, { mediaType: string; bytes: Buffer }>;
  put(mediaType: string, content: Buffer | object, tag?: string): Descriptor;
  putImage(parts: ImageParts, tag?: string): Descriptor;
  /** The digest of the configuration of what `putImage` has answered. */
  configOf(image: Descriptor): string;
}

export interface ImageParts {
  layers: { mediaType: string; bytes: Buffer; diffId: string }[];
  manifestType?: string;
  configType?: string;
  config?: ImageConfig;
}

export async function startRegistry(): Promise<RegistryFixture> {
  const requests: string[] = [];
  const contents: RegistryFixture["contents"] = new Map();
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const found = contents.get(request.url?.split("/").at(-1) ?? "");
    if (found === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": found.mediaType, "content-length": found.bytes.length });
    response.end(request.method === "HEAD" ? undefined : found.bytes);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const registry: RegistryFixture = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    contents,
    put(mediaType, content, tag) {
      const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
      const digest = sha256(bytes);
      contents.set(digest, { mediaType, bytes });
      if (tag !== undefined) contents.set(tag, { mediaType, bytes });
      return { mediaType, digest, size: bytes.length };
    },
    putImage(parts, tag) {
      const { layers, manifestType = mediaTypes.manifest, configType = mediaTypes.config } = parts;
      const config = registry.put(configType, {
        architecture: ociArchitecture(process.arch),
        os: "linux",
        config: parts.config ?? { Cmd: ["/app"] },
        rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
      });
      const descriptors = layers.map(({ mediaType, bytes }) => registry.put(mediaType, bytes));
      const manifest = { schemaVersion: 2, mediaType: manifestType, config, layers: descriptors };
      return registry.put(manifestType, manifest, tag);
    },
    configOf({ digest }) {
      const manifest = JSON.parse(String(contents.get(digest)?.bytes)) as { config: Descriptor };
      return manifest.config.digest;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
  return registry;
}
