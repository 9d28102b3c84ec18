import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { tempDir } from "@kws/base/tempdir";
import type { TempDir } from "@kws/base/tempdir";
import { copy } from "./copy.ts";
import type { CopyProgress } from "./copy.ts";
import { mediaTypes, sha256 } from "./descriptor.ts";
import { openLayout } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { openRegistries } from "./registry.ts";
import type { Repository } from "./repository.ts";
import { login, registryMissing, startDockerRegistry } from "./testing/docker-registry.ts";
import type { DockerRegistry } from "./testing/docker-registry.ts";

const missing = registryMissing(process.env);
const env = { PATH: process.env["PATH"] };

const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));

/** Puts an artifact with the layers into a repository. */
async function push(to: Repository, layers: Buffer[], tag?: string) {
  const config = bytesOf({});
  const descriptor = (content: Buffer, mediaType: string) => ({
    mediaType,
    digest: sha256(content),
    size: content.length,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: descriptor(config, "application/vnd.example.config.v1+json"),
    layers: layers.map((layer) => descriptor(layer, "application/vnd.example.layer.v1")),
  };
  for (const [at, content] of [config, ...layers].entries()) {
    const blob = [manifest.config, ...manifest.layers][at];
    if (blob === undefined) throw new Error("no descriptor");
    await to.pushBlob(blob, async function* () {
      yield content;
    });
  }
  return to.pushManifest(bytesOf(manifest), mediaTypes.manifest, tag === undefined ? {} : { tag });
}

async function contentOf(blob: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of blob) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A port that leads to a registry, and breaks one connection when so many bytes have gone one way. */
async function breakingWire(to: string) {
  let left = Number.POSITIVE_INFINITY;
  let way: "up" | "down" = "up";
  let broken = 0;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(to.split(":")[1]), "127.0.0.1");
    const relay = (from: Socket, onto: Socket, direction: typeof way) => {
      sockets.add(from);
      from.on("error", () => onto.destroy());
      from.on("close", () => onto.destroy());
      from.on("data", (chunk) => {
        if (direction === way) left -= chunk.length;
        if (left > 0) {
          if (!onto.write(chunk)) {
            from.pause();
            onto.once("drain", () => from.resume());
          }
          return;
        }
        left = Number.POSITIVE_INFINITY;
        broken += 1;
        near.destroy();
      });
    };
    relay(near, far, "up");
    relay(far, near, "down");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    breakAfter(direction: typeof way, bytes: number) {
      way = direction;
      left = bytes;
    },
    broken: () => broken,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

describe.skipIf(missing !== undefined)(
  `a docker-registry${missing === undefined ? "" : ` (${missing})`}`,
  () => {
    let folder: TempDir;
    let layout: Layout;
    let registry: DockerRegistry;
    const registries = openRegistries({ env });

    beforeAll(async () => {
      folder = await tempDir("kws-oci");
      layout = await openLayout(folder.path);
      registry = await startDockerRegistry(process.env);
    });
    afterAll(async () => {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    });

    test("what is pushed comes back, by tag and by digest", async () => {
      const repository = registries.repository(`${registry.host}/team/orders`);
      const layers = [randomBytes(3 << 20), Buffer.from("small")];
      const pushed = await push(repository, layers, "1.0.0");
      expect(await repository.resolve("1.0.0")).toEqual(pushed);
      expect(await repository.resolve(pushed.digest)).toEqual(pushed);
      const { descriptor, bytes } = await repository.manifest("1.0.0");
      expect(descriptor).toEqual(pushed);
      const manifest = JSON.parse(Buffer.from(bytes).toString("utf8"));
      for (const [at, layer] of layers.entries()) {
        expect(await contentOf(repository.blob(manifest.layers[at]))).toEqual(layer);
      }
      expect(await repository.tags()).toEqual(["1.0.0"]);
    });

    test("what is not there is undefined, no tags, or a not-found error that names it", async () => {
      const repository = registries.repository(`${registry.host}/team/nothing`);
      expect(await repository.resolve("1.0.0")).toBeUndefined();
      expect(await repository.tags()).toEqual([]);
      expect(await repository.hasBlob(sha256("nothing"))).toBe(false);
      await expect(repository.manifest("1.0.0")).rejects.toMatchObject({
        code: "not-found",
        message: expect.stringContaining(`${registry.host}/team/nothing:1.0.0`),
      });
    });

    test("an index is copied with its children, and a second time nothing is sent", async () => {
      const local = layout.repository("team/multi");
      const children = await Promise.all([push(local, [randomBytes(9)]), push(local, [randomBytes(9)])]);
      const index = bytesOf({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: children });
      const descriptor = await local.pushManifest(index, mediaTypes.index, { tag: "2" });
      const remote = registries.repository(`${registry.host}/team/multi`);
      const seen: CopyProgress[] = [];
      await copy(local, remote, descriptor, { tag: "2", onProgress: (progress) => seen.push(progress) });
      expect(await remote.resolve("2")).toEqual(descriptor);
      for (const child of children) expect(await remote.resolve(child.digest)).toEqual(child);
      expect(seen.filter(({ state }) => state === "copied")).toHaveLength(3); // The two share a configuration.

      await using elsewhere = await tempDir("kws-oci");
      const back = (await openLayout(elsewhere.path)).repository("back");
      await copy(remote, back, descriptor, { tag: "2" });
      expect((await back.manifest("2")).bytes).toEqual(index);
      seen.length = 0;
      await copy(local, remote, descriptor, { tag: "2", onProgress: (progress) => seen.push(progress) });
      expect(seen.map(({ state }) => state)).toEqual(["present", "present", "present", "present"]);
    });

    test("a blob that another repository of the registry has is mounted from there, without being read", async () => {
      const from = registries.repository(`${registry.host}/team/source`);
      const pushed = await push(from, [randomBytes(1000)], "1");
      const to = registries.repository(`${registry.host}/team/target`);
      const unread: Repository = {
        ...from,
        blob() {
          throw new Error("read");
        },
      };
      await copy(unread, to, pushed, { tag: "1" });
      expect(await to.resolve("1")).toEqual(pushed);
    });

    test("a version that must not be overwritten stays, and its own content may be pushed again", async () => {
      const repository = registries.repository(`${registry.host}/team/versions`);
      const first = await push(repository, [Buffer.from("one")], "1.0.0");
      const other = await push(repository, [Buffer.from("two")]);
      const again = async (digest: string) => {
        const { bytes, descriptor } = await repository.manifest(digest);
        return repository.pushManifest(bytes, descriptor.mediaType, { tag: "1.0.0", overwrite: false });
      };
      await expect(again(other.digest)).rejects.toMatchObject({ code: "conflict" });
      expect(await again(first.digest)).toEqual(first);
      expect((await repository.resolve("1.0.0"))?.digest).toBe(first.digest);
    });

    test("connections that break in the middle of an upload and of a download are mended", async () => {
      const content = randomBytes(8 << 20);
      const blob = { mediaType: "application/octet-stream", digest: sha256(content), size: content.length };
      await using wire = await breakingWire(registry.host);
      const repository = openRegistries({ env, retryDelayMs: 1 }).repository(`${wire.host}/team/wire`);
      wire.breakAfter("up", 3 << 20);
      await repository.pushBlob(blob, async function* () {
        for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
      });
      expect(wire.broken()).toBe(1);
      wire.breakAfter("down", 3 << 20);
      expect(await contentOf(repository.blob(blob))).toEqual(content);
      expect(wire.broken()).toBe(2);
    });

    test("a registry that has gone is told as such", async () => {
      await using gone = await startDockerRegistry(process.env);
      await gone.kill();
      const repository = registries.repository(`${gone.host}/team/orders`);
      await expect(repository.resolve("1")).rejects.toMatchObject({
        message: `${gone.host}/team/orders:1: nothing listens at ${gone.host} (ECONNREFUSED)`,
      });
    });

    test("a registry with a password wants it, and takes the right one", async () => {
      await using closed = await startDockerRegistry(process.env, { login: true });
      const name = `${closed.host}/team/private`;
      await expect(push(registries.repository(name), [Buffer.from("one")])).rejects.toMatchObject({
        code: "permission",
        fix: expect.stringContaining(`docker login ${closed.host}`),
      });
      const { username, password } = login;
      const wrong = openRegistries({ env, credentials: async () => ({ username, password: "guess" }) });
      await expect(push(wrong.repository(name), [Buffer.from("one")])).rejects.toMatchObject({
        code: "permission",
        message: expect.not.stringContaining("guess"),
      });
      const right = openRegistries({ env, credentials: async () => ({ username, password }) });
      const pushed = await push(right.repository(name), [Buffer.from("one")], "1");
      expect(await right.repository(name).resolve("1")).toEqual(pushed);
    });
  },
);
