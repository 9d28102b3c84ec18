import { gunzipSync, gzipSync } from "node:zlib";
import { Header } from "tar";
import { expect, test } from "vitest";
import { limits, readArchive, writeArchive } from "./archive.ts";

const files = (entries: Record<string, string>) =>
  new Map(Object.entries(entries).map(([path, text]): [string, Uint8Array] => [path, Buffer.from(text)]));

const texts = (read: Map<string, Uint8Array>) =>
  Object.fromEntries([...read].map(([path, bytes]) => [path, Buffer.from(bytes).toString()]));

/** One entry as a hostile hand would write it. */
function entry(path: string, options: { type?: string; size?: number; linkpath?: string } = {}): Buffer {
  const bytes = Buffer.alloc(512);
  const { type = "File", size = 0, linkpath } = options;
  new Header({ path, type: type as "File", mode: 0o644, size, ...(linkpath && { linkpath }) }).encode(bytes);
  return bytes;
}

const archiveOf = (...entries: Buffer[]) => gzipSync(Buffer.concat([...entries, Buffer.alloc(1024)]));

test("the order of the files does not show in the bytes, and the time is the one given", async () => {
  const one = await writeArchive(files({ "api/Chart.yaml": "a", "api/values.yaml": "b" }), 1_700_000_000);
  const two = await writeArchive(files({ "api/values.yaml": "b", "api/Chart.yaml": "a" }), 1_700_000_000);
  expect(Buffer.compare(one, two)).toBe(0);
  const header = new Header(gunzipSync(one), 0);
  expect(header).toMatchObject({ path: "api/Chart.yaml", mode: 0o644, uid: 0, gid: 0 });
  expect(header.mtime).toEqual(new Date(1_700_000_000_000));
});

test("what is written can be read, long and foreign names included", async () => {
  const content = files({
    "api/Chart.yaml": "name: api",
    [`api/${"deep/".repeat(60)}ä€.txt`]: "long",
    "api/empty": "",
  });
  const read = await readArchive(await writeArchive(content, 0), "api.tgz");
  expect(texts(read)).toEqual(texts(content));
});

test.each([
  ["a path that climbs", [entry("api/../../etc/cron.d/x")], "leads out"],
  ["an absolute path", [entry("/etc/passwd")], "leads out"],
  ["a symbolic link", [entry("api/x", { type: "SymbolicLink", linkpath: "/etc/passwd" })], "SymbolicLink"],
  ["a hard link", [entry("api/x", { type: "Link", linkpath: "/etc/passwd" })], "Link"],
  ["a device", [entry("api/x", { type: "CharacterDevice" })], "CharacterDevice"],
  ["a named pipe", [entry("api/x", { type: "FIFO" })], "FIFO"],
  ["a path twice", [entry("api/x"), entry("api/x")], "twice"],
  ["a file that is too big", [entry("api/x", { size: limits.file + 1 })], "too big|not a chart archive"],
  ["too many files", Array.from({ length: limits.files + 1 }, (_, n) => entry(`api/${n}`)), "too big"],
])("%s is refused", async (_, entries, why) => {
  await expect(readArchive(archiveOf(...entries), "api.tgz")).rejects.toThrow(new RegExp(why));
});

test("a bomb is refused before it is unpacked", async () => {
  const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
  await expect(readArchive(bomb, "api.tgz")).rejects.toThrow("unpacks to more than a chart may hold");
});

test.each([
  ["no gzip", Buffer.from("hello")],
  ["a truncated one", archiveOf(entry("api/x")).subarray(0, 20)],
  ["gzip of something else", gzipSync("x".repeat(2000))],
])("%s is not an archive", async (_, bytes) => {
  await expect(readArchive(bytes, "api.tgz")).rejects.toThrow("api.tgz is not a chart archive");
});
