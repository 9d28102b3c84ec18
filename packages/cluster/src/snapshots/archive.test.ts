import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { sha256, hexOf } from "@kws/oci/descriptor";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rawTar, type RawEntry } from "../images/tar-fixture.ts";
import { readArchive, writeArchive } from "./archive.ts";
import type { SnapshotRecord } from "./folder.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-archive-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const record: SnapshotRecord = {
  format: 1,
  name: "seeded",
  cluster: "default",
  takenAt: "2026-01-01T00:00:00Z",
  version: "v1.35.2",
  architecture: "amd64",
  objects: 0,
  volumes: 1,
  volumeBytes: 0,
  images: 0,
  imageBytes: 0,
  pausedMs: 0,
};

const described: RawEntry = { name: "snapshot.json", content: JSON.stringify(record) };
const objects: RawEntry = { name: "objects.jsonl", content: '{"revision":1}\n' };
const folder = (name: string): RawEntry => ({ name: `${name}/`, type: "5", mode: 0o755 });
const volume = [folder("volumes"), folder("volumes/data")];

async function read(bytes: Uint8Array): Promise<string> {
  const target = await mkdtemp(join(dir, "read-"));
  const path = `${target}.tar`;
  await writeFile(path, bytes);
  await readArchive(path, target);
  return target;
}

test.each(["snapshot.tar", "snapshot.tar.gz", "snapshot.tar.zst"])(
  "%s gives back what was written",
  async (name) => {
    const source = await mkdtemp(join(dir, "source-"));
    const data = join(source, "volumes/data");
    const digest = hexOf(sha256("blob"));
    await mkdir(data, { recursive: true });
    await mkdir(join(source, "pods"));
    await mkdir(join(source, "images/blobs/sha256"), { recursive: true });
    await writeFile(join(source, "snapshot.json"), JSON.stringify(record));
    await writeFile(join(source, "objects.jsonl"), '{"revision":1}\n');
    await writeFile(join(source, "images/blobs/sha256", digest), "blob");
    await writeFile(join(data, "rows"), "a row", { mode: 0o640 });
    await symlink("/var/lib/rows", join(data, "absolute"));
    await writeFile(join(data, "holes"), "start");
    await truncate(join(data, "holes"), 16 * 1024 * 1024);

    const archive = join(dir, name);
    await writeArchive(source, archive);
    const target = await mkdtemp(join(dir, "target-"));
    await readArchive(archive, target);

    expect(await readFile(join(target, "volumes/data/rows"), "utf8")).toBe("a row");
    expect((await stat(join(target, "volumes/data/rows"))).mode & 0o7777).toBe(0o640);
    expect(await readlink(join(target, "volumes/data/absolute"))).toBe("/var/lib/rows");
    const holes = await stat(join(target, "volumes/data/holes"));
    expect(holes.size).toBe(16 * 1024 * 1024);
    expect(holes.blocks * 512).toBeLessThan(1024 * 1024);
    expect(await readFile(join(target, "images/blobs/sha256", digest), "utf8")).toBe("blob");
  },
);

test("a name that says nothing of compression is refused before anything is written", async () => {
  await expect(writeArchive(dir, join(dir, "snapshot.zip"))).rejects.toMatchObject({ code: "usage" });
  expect(await readdir(dir)).not.toContain("snapshot.zip");
});

test("an archive that cannot be written leaves nothing", async () => {
  const target = await mkdtemp(join(dir, "empty-"));
  await expect(writeArchive(join(dir, "missing"), join(target, "snapshot.tar"))).rejects.toThrow(
    "tar failed",
  );
  expect(await readdir(target)).toEqual([]);
});

test.each<[string, RawEntry[]]>([
  ["leaves the folder", [{ name: "../outside" }]],
  ["has an absolute path", [{ name: "/etc/outside" }]],
  ["is of no snapshot", [{ name: "daemon.json" }]],
  ["is a key of a cluster", [folder("apiserver"), { name: "apiserver/ca.key" }]],
  ["makes a volume of a link", [folder("volumes"), { name: "volumes/data", type: "2", link: "/etc" }]],
  ["makes a pod of a link", [folder("pods"), { name: "pods/1", type: "2", link: "/etc" }]],
  [
    "is written through a link",
    [...volume, { name: "volumes/data/a", type: "2", link: "/etc" }, { name: "volumes/data/a/b" }],
  ],
  ["links to a file of the machine", [...volume, { name: "volumes/data/a", type: "1", link: "/etc/passwd" }]],
  ["links to the objects", [...volume, { name: "volumes/data/a", type: "1", link: "objects.jsonl" }]],
  ["is a device", [...volume, { name: "volumes/data/a", type: "3" }]],
  ["replaces another", [...volume, { name: "volumes/data/a" }, { name: "volumes/data/a" }]],
  [
    "is an image's file with other content",
    [
      ...["images", "images/blobs", "images/blobs/sha256"].map(folder),
      { name: `images/blobs/sha256/${hexOf(sha256("good"))}`, content: "evil" },
    ],
  ],
])("an archive with an entry that %s is refused", async (_what, entries) => {
  await expect(read(rawTar([described, objects, ...entries]))).rejects.toMatchObject({ code: "config" });
});

test.each<[string, () => Uint8Array]>([
  ["a tar archive of something else", () => rawTar([{ name: "readme", content: "hello" }])],
  ["an empty archive", () => rawTar([])],
  ["an archive without objects", () => rawTar([described])],
  ["text", () => Buffer.from("this is no archive".repeat(100))],
  ["half a gzip file", () => gzipSync(rawTar([described, objects])).subarray(0, 60)],
  ["half a zstd file", () => zstdCompressSync(rawTar([described, objects])).subarray(0, 60)],
  ["half a tar archive", () => rawTar([described, { ...objects, size: 9999 }])],
  [
    "a snapshot of the future",
    () => rawTar([{ name: "snapshot.json", content: JSON.stringify({ ...record, format: 2 }) }]),
  ],
])("%s is refused", async (_what, bytes) => {
  await expect(read(bytes())).rejects.toMatchObject({ code: "config" });
});

test("a file that is missing is told as that", async () => {
  await expect(readArchive(join(dir, "nowhere.tar"), dir)).rejects.toMatchObject({ code: "not-found" });
});
