import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureBaseImage } from "./base-image.ts";
import { locate, readText } from "./rootfs.ts";
import { openImageStore } from "./store.ts";
import type { LocalImageStore } from "./store.ts";
import { removeTree } from "./unpack.ts";
import { resolveUser } from "./users.ts";

const node = { path: process.execPath, version: process.versions.node };
const reference = `kws.local/node:${node.version.split(".")[0]}`;
let dir: string;
let store: LocalImageStore;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "base-image-"));
  store = await openImageStore(join(dir, "store"));
});
afterAll(() => removeTree(dir));

test(
  "the base image has Node, a shell, the loader, users and a world-writable /tmp",
  { timeout: 60_000 },
  async () => {
    const first = await ensureBaseImage(store, node);
    expect(first).toMatchObject({ reference, cached: false });
    const image = await store.find(reference);
    const layers = image?.layers ?? [];
    expect(image?.config).toMatchObject({ Cmd: ["node"], WorkingDir: "/" });
    expect(image?.config.Env).toContain(`NODE_VERSION=${node.version}`);
    for (const path of ["usr/local/bin/node", "bin/sh", "bin/ls", "usr/bin/env"]) {
      const found = await locate(layers, path);
      expect([path, found?.stats.isFile(), (found?.stats.mode ?? 0) & 0o111]).toEqual([path, true, 0o111]);
    }
    expect(((await locate(layers, "tmp"))?.stats.mode ?? 0) & 0o7777).toBe(0o1777);
    expect(await resolveUser(layers, "node")).toMatchObject({ uid: 1000, gid: 1000, home: "/home/node" });
    expect(await readText(layers, "etc/nsswitch.conf")).toContain("hosts: files dns");
  },
);

test("asked again it answers at once; elsewhere it has the same digest", { timeout: 60_000 }, async () => {
  const first = await ensureBaseImage(store, node);
  expect(first.cached).toBe(true);
  const other = await openImageStore(join(dir, "other"));
  const second = await ensureBaseImage(other, node);
  expect(second).toEqual({ ...first, cached: false });
});
