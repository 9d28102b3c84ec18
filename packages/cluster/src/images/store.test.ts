import { createHash } from "node:crypto";
import { lstat, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { UserError } from "@kws/base/errors";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isWhiteout, listDirectory, locate, readText } from "./rootfs.ts";
import { openImageStore } from "./store.ts";
import type { LocalImageStore, StoreOptions } from "./store.ts";
import { rawTar } from "./tar-fixture.ts";
import type { RawEntry } from "./tar-fixture.ts";
import { removeTree } from "./unpack.ts";
import { resolveUser } from "./users.ts";

let dir: string;
let store: LocalImageStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "images-"));
  store = await openImageStore(join(dir, "store"));
});
afterEach(() => removeTree(dir));

const sha = (content: Uint8Array | string) => createHash("sha256").update(content).digest("hex");

/** A docker-save archive with the layers, and further entries. */
async function dockerArchive(layers: Buffer[], more: RawEntry[] = []): Promise<string> {
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["x"], Env: null },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => `sha256:${sha(layer)}`) },
  });
  const manifest = [
    {
      Config: "config.json",
      RepoTags: ["demo:1"],
      Layers: layers.map((_, at) => `layer${at}.tar`),
    },
  ];
  const path = join(dir, "archive.tar");
  await writeFile(
    path,
    rawTar([
      ...more,
      ...layers.map((content, at) => ({ name: `layer${at}.tar`, content })),
      { name: "config.json", content: config },
      { name: "manifest.json", content: JSON.stringify(manifest) },
    ]),
  );
  return path;
}

async function importLayers(...layers: RawEntry[][]) {
  return store.import(await dockerArchive(layers.map(rawTar)));
}

async function refusal(promise: Promise<unknown>): Promise<UserError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
}

describe("archives", () => {
  test("a docker-save archive is found under its tag, with its files unpacked", async () => {
    const image = await importLayers(
      [
        { name: "etc/", type: "5" },
        { name: "etc/a", content: "one", mode: 0o640 },
      ],
      [{ name: "etc/b", content: "two" }],
    );
    expect(image.reference).toBe("demo:1");
    expect(image.config).toEqual({ Cmd: ["x"] });
    const found = await store.find("demo:1");
    expect(found?.digest).toBe(image.digest);
    expect(await readText(found?.layers ?? [], "etc/a")).toBe("one");
    expect(await listDirectory(found?.layers ?? [], "etc")).toEqual(["a", "b"]);
    expect(((await locate(image.layers, "etc/a"))?.stats.mode ?? 0) & 0o777).toBe(0o640);
  });

  test("a compressed archive reads as a plain one", async () => {
    const path = await dockerArchive([rawTar([{ name: "a", content: "one" }])]);
    await writeFile(path, gzipSync(await readFile(path)));
    const image = await store.import(path);
    expect(await readText(image.layers, "a")).toBe("one");
  });

  test("an exported image comes back with the same digest, in this format and as docker-save", async () => {
    const image = await importLayers([{ name: "a", content: "one" }]);
    const path = join(dir, "out.tar");
    await store.export("demo:1", path);
    const other = await openImageStore(join(dir, "other"));
    const back = await other.import(path);
    expect(back.digest).toBe(image.digest);
    expect(back.reference).toBe("demo:1");
    await store.export("demo:1", join(dir, "again.tar"));
    expect(sha(await readFile(join(dir, "again.tar")))).toBe(sha(await readFile(path)));
  });

  test("a blob that is not what its name says is refused", async () => {
    const path = join(dir, "bad.tar");
    await writeFile(
      path,
      rawTar([
        { name: `blobs/sha256/${"0".repeat(64)}`, content: "x" },
        { name: "index.json", content: "{}" },
      ]),
    );
    const error = await refusal(store.import(path));
    expect(error.code).toBe("config");
    expect(error.message).toContain(`${path}: the entry "blobs/sha256/000`);
    expect(await readdir(join(store.dir, "blobs/sha256"))).toEqual([]);
  });

  test.each<[string, RawEntry[]]>([
    ["manifest.json twice", [{ name: "manifest.json", content: "[]" }]],
    ["a path that climbs", [{ name: "../evil", content: "x" }]],
    ["an absolute path", [{ name: "/evil", content: "x" }]],
    ["a device", [{ name: "dev", type: "3" }]],
    ["a symbolic link", [{ name: "layer1.tar", type: "2", link: "../../etc/passwd" }]],
  ])("an archive with %s is refused", async (_, more) => {
    const path = await dockerArchive([rawTar([{ name: "a" }])], more);
    const error = await refusal(store.import(path));
    expect(error.code).toBe("config");
    expect(error.message).toContain(path);
    expect(await store.find("demo:1")).toBeUndefined();
  });

  test("an archive cut short is refused", async () => {
    const path = await dockerArchive([rawTar([{ name: "a", content: "x".repeat(5000) }])]);
    const whole = await readFile(path);
    await writeFile(path, whole.subarray(0, 3000));
    expect((await refusal(store.import(path))).code).toBe("config");
  });

  test("an archive that does not exist is not found", async () => {
    expect((await refusal(store.import(join(dir, "none.tar")))).code).toBe("not-found");
  });
});

describe("hostile layers", () => {
  test.each<[string, RawEntry[], string]>([
    ["a path that climbs", [{ name: "a/../../evil" }], "a/../../evil"],
    ["an absolute path", [{ name: "/evil" }], "/evil"],
    [
      "a write through a symbolic link",
      [
        { name: "out", type: "2", link: "/tmp" },
        { name: "out/evil", content: "x" },
      ],
      "out/evil",
    ],
    ["a symbolic link that climbs", [{ name: "a/b", type: "2", link: "../../etc" }], "a/b"],
    ["a hard link outside", [{ name: "a", type: "1", link: "../../../etc/passwd" }], "a"],
    ["an absolute hard link", [{ name: "a", type: "1", link: "/etc/passwd" }], "a"],
    [
      "a hard link to a symbolic link",
      [
        { name: "s", type: "2", link: "/etc/passwd" },
        { name: "a", type: "1", link: "s" },
      ],
      "a",
    ],
    ["a character device", [{ name: "sda", type: "3" }], "sda"],
    ["a block device", [{ name: "sda", type: "4" }], "sda"],
    ["a whiteout of the parent", [{ name: "a/.wh..." }], "a/.wh..."],
  ])("%s is refused, and names the entry", async (_, entries, name) => {
    const error = await refusal(importLayers(entries));
    expect(error.code).toBe("config");
    expect(error.message).toContain(`the entry "${name}"`);
    expect(error.message).toContain(join(dir, "archive.tar"));
    expect(await store.find("demo:1")).toBeUndefined();
    expect(await readdir(join(store.dir, "ingest"))).toEqual([]);
  });

  test("a file replaces a symbolic link of the same name instead of following it", async () => {
    const victim = join(dir, "victim");
    await writeFile(victim, "safe");
    const image = await importLayers([
      { name: "a", type: "2", link: victim },
      { name: "a", content: "owned" },
    ]);
    expect(await readFile(victim, "utf8")).toBe("safe");
    expect(await readText(image.layers, "a")).toBe("owned");
  });

  test("a layer larger than the limit is refused", async () => {
    const limits: StoreOptions = { limits: { bytes: 1000, entries: 10 } };
    store = await openImageStore(join(dir, "small"), limits);
    const error = await refusal(importLayers([{ name: "big", content: "x".repeat(1001) }]));
    expect(error.message).toContain("1000 bytes");
    const many = Array.from({ length: 11 }, (_, at) => ({ name: `f${at}` }));
    expect((await refusal(importLayers(many))).message).toContain("10 entries");
  });

  test("a link to a secret of this machine reads as a file of the image", async () => {
    const image = await importLayers([{ name: "etc/passwd", type: "2", link: "/etc/shadow" }]);
    expect(await readText(image.layers, "etc/passwd")).toBeUndefined();
  });
});

describe("whiteouts", () => {
  test("a deleted file is a character device that overlayfs understands", async () => {
    const image = await importLayers(
      [
        { name: "a/x", content: "1" },
        { name: "a/y", content: "2" },
      ],
      [{ name: "a/.wh.x" }],
    );
    expect(isWhiteout(await lstat(join(image.layers[1] ?? "", "a/x")))).toBe(true);
    expect(await listDirectory(image.layers, "a")).toEqual(["y"]);
    expect(await readText(image.layers, "a/x")).toBeUndefined();
  });

  test("an opaque directory hides what each stack of layers below it holds", async () => {
    const opaque = [{ name: "a/.wh..wh..opq" }, { name: "a/new", content: "n" }];
    const first = await importLayers([{ name: "a/x" }, { name: "a/y" }], opaque);
    expect(await listDirectory(first.layers, "a")).toEqual(["new"]);
    const second = await importLayers([{ name: "a/z" }], opaque);
    expect(await listDirectory(second.layers, "a")).toEqual(["new"]);
    expect(second.layers[1]).not.toBe(first.layers[1]);
    const names = await readdir(join(second.layers[1] ?? "", "a"));
    expect(names.toSorted()).toEqual(["new", "z"]);
  });

  test("a directory that only a lower layer describes keeps its mode", async () => {
    const image = await importLayers(
      [{ name: "tmp/", type: "5", mode: 0o1777 }],
      [{ name: "tmp/file", content: "x" }],
    );
    const { mode } = await lstat(join(image.layers[1] ?? "", "tmp"));
    expect(mode & 0o7777).toBe(0o1777);
  });
});

describe("references", () => {
  test("an image is found by name, tag, digest and name with digest", async () => {
    const { digest } = await store.addImage({ config: {}, layers: [], references: ["a/b"] });
    for (const reference of ["a/b", "a/b:latest", digest, `a/b@${digest}`]) {
      expect((await store.find(reference))?.digest).toBe(digest);
    }
    expect(await store.find("a/b:other")).toBeUndefined();
    await expect(store.find("Not A Reference")).rejects.toThrow("is not an image reference");
  });

  test("many writers at once lose no reference", async () => {
    const stores = await Promise.all([1, 2, 3].map(() => openImageStore(join(dir, "store"))));
    const names = Array.from({ length: 15 }, (_, at) => `image${at}:1`);
    await Promise.all(
      names.map((name, at) =>
        (stores[at % 3] ?? store).addImage({
          config: { Labels: { at: String(at) } },
          layers: [],
          references: [name],
        }),
      ),
    );
    const listed = (await store.list()).flatMap((image) => image.references);
    expect(listed.toSorted()).toEqual(names.toSorted());
  });

  test("gc removes what no reference reaches and keeps the rest", async () => {
    const kept = await importLayers([{ name: "a", content: "kept" }]);
    const layer = await store.addLayer([{ path: "b", type: "file", source: Buffer.from("gone") }]);
    await store.addImage({ config: {}, layers: [layer], references: ["gone:1"] });
    await store.find("gone:1");
    await store.remove("gone:1");
    expect(await store.gc()).toEqual({ blobs: 0, layers: 0, bytes: 0 });
    const collected = await store.gc({ minimumAgeMs: 0 });
    expect(collected.layers).toBe(1);
    expect(await store.blobs.has(layer.descriptor.digest)).toBe(false);
    expect(await readText((await store.find("demo:1"))?.layers ?? [], "a")).toBe("kept");
    expect(await store.find(kept.digest)).toBeDefined();
  });
});

describe("layers", () => {
  test("equal entries in any order give an equal layer", async () => {
    const long = `deep/${"n".repeat(120)}/${"m".repeat(120)}/file`;
    const entries = [
      { path: long, type: "file" as const, source: Buffer.from("x") },
      { path: "a", type: "symlink" as const, target: "deep" },
      { path: "ünï", type: "file" as const, source: Buffer.from("y") },
    ];
    const [one, two] = [await store.addLayer(entries), await store.addLayer(entries.toReversed())];
    expect(one).toEqual(two);
    const [folder] = await store.unpack([one]);
    expect(await readText([folder ?? ""], long)).toBe("x");
    expect(await readText([folder ?? ""], "ünï")).toBe("y");
  });
});

describe("users", () => {
  test("names, numbers and groups resolve in the image's own files", async () => {
    const { layers } = await importLayers([
      { name: "etc/passwd", content: "root:x:0:0::/root:/bin/sh\napp:x:10:20::/home/app:/bin/sh\n" },
      { name: "etc/group", content: "root:x:0:\napp:x:20:\nextra:x:30:root,app\n" },
    ]);
    const home = "/home/app";
    expect(await resolveUser(layers, "app")).toEqual({ uid: 10, gid: 20, additionalGids: [30], home });
    expect(await resolveUser(layers, "10")).toEqual({ uid: 10, gid: 20, additionalGids: [30], home });
    expect(await resolveUser(layers, "app:extra")).toEqual({ uid: 10, gid: 30, additionalGids: [], home });
    expect(await resolveUser(layers, "5:6")).toEqual({ uid: 5, gid: 6, additionalGids: [], home: "/" });
    expect((await resolveUser(layers, "")).home).toBe("/root");
    await expect(resolveUser(layers, "nobody")).rejects.toThrow('no user "nobody"');
    await expect(resolveUser(layers, "app:none")).rejects.toThrow('no group "none"');
  });
});
