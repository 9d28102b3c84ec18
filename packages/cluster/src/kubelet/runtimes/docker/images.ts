/** Images of the cluster's store in a Docker Engine: loaded when a container first needs one. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { hexOf, sha256 } from "@kws/oci/descriptor";
import type Docker from "dockerode";
import { writeLayer, type LayerEntry } from "../../../images/layer.ts";
import type { LocalImageStore } from "../../../images/store.ts";
import { isStatus, orMissing } from "./engine.ts";
import { labels } from "./layout.ts";

export class EngineImages {
  readonly #docker: Docker;
  readonly #store: LocalImageStore;
  readonly #loading = new Map<string, Promise<string>>();

  constructor(docker: Docker, store: LocalImageStore) {
    this.#docker = docker;
    this.#store = store;
  }

  /** The engine's id of a stored image, by the digest of its manifest. */
  async load(digest: string): Promise<string> {
    let loading = this.#loading.get(digest);
    if (loading === undefined) {
      loading = this.#load(digest).finally(() => this.#loading.delete(digest));
      this.#loading.set(digest, loading);
    }
    return loading;
  }

  async #load(digest: string): Promise<string> {
    const stored = await this.#store.inspect(digest);
    if (stored === undefined) throw new Error(`the image ${digest} is not stored`);
    const { architecture } = stored.document;
    // Its layers alone: what the image's configuration says is the kubelet's to apply.
    const config = JSON.stringify({
      architecture,
      os: "linux",
      created: "1970-01-01T00:00:00Z",
      config: { Labels: { [labels.image]: "loaded" } },
      rootfs: { type: "layers", diff_ids: stored.layers.map(({ diffId }) => diffId) },
    });
    const id = sha256(config);
    if (await orMissing(this.#docker.getImage(id).inspect())) return id;
    const name = hexOf(id);
    const layers = stored.layers.map(({ descriptor }): LayerEntry => ({
      path: `${hexOf(descriptor.digest)}/layer.tar`,
      type: "file",
      source: this.#store.blobs.path(descriptor.digest),
    }));
    const manifest = [
      {
        Config: `${name}.json`,
        RepoTags: [`kws.local/loaded:${name.slice(0, 32)}`],
        Layers: layers.map(({ path }) => path),
      },
    ];
    const archive = await this.#store.blobs.temporary();
    try {
      await writeLayer(
        archive,
        [
          { path: "manifest.json", type: "file", source: Buffer.from(JSON.stringify(manifest)) },
          { path: `${name}.json`, type: "file", source: Buffer.from(config) },
          ...layers,
        ],
        createHash("sha256"),
      );
      await this.#send(archive);
    } finally {
      await rm(archive, { force: true });
    }
    return id;
  }

  async #send(archive: string): Promise<void> {
    const progress = await this.#docker.loadImage(createReadStream(archive), { quiet: true });
    let said = "";
    for await (const chunk of progress) said += String(chunk);
    const error = /"error"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(said)?.[1];
    if (error !== undefined) throw new Error(`the Docker Engine did not take the image: ${error}`);
  }
}

/** Removes those that no container of any cluster needs. */
export async function removeUnusedImages(docker: Docker): Promise<void> {
  const loaded = await docker.listImages({ filters: { label: [`${labels.image}=loaded`] } });
  for (const { Id } of loaded) {
    try {
      await docker.getImage(Id).remove();
    } catch (error) {
      if (!isStatus(error, 404, 409)) throw error;
    }
  }
}
