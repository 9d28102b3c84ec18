import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import { lastLines, sinceOf } from "./logs.ts";
import { readLines, readMultiplexed } from "./multiplexed.ts";

const piece = (type: number, text: string) => {
  const head = Buffer.alloc(8);
  head.writeUInt8(type, 0);
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
};

test("pieces of several outputs are told apart, however they arrive", async () => {
  const bytes = Buffer.concat([piece(1, "one\n"), piece(2, ""), piece(2, "two\n"), piece(1, "three")]);
  for (const size of [1, 5, bytes.length]) {
    const stream = new PassThrough();
    const seen: [string, string][] = [];
    readMultiplexed(stream, (from, chunk) => seen.push([from, chunk.toString()]));
    for (let at = 0; at < bytes.length; at += size) stream.write(bytes.subarray(at, at + size));
    stream.end();
    await new Promise((resolve) => stream.once("close", resolve));
    expect(seen).toEqual([
      ["stdout", "one\n"],
      ["stderr", ""],
      ["stderr", "two\n"],
      ["stdout", "three"],
    ]);
  }
});

test("a terminal's output comes in lines, and at its end the rest", async () => {
  const stream = new PassThrough();
  const seen: string[] = [];
  readLines(stream, (line) => seen.push(line.toString()));
  stream.write("one\r\ntw");
  stream.end("o\r\nrest");
  await new Promise((resolve) => stream.once("close", resolve));
  expect(seen).toEqual(["one\r\n", "two\r\n", "rest"]);
});

test("a log goes on behind its last lines, also where it has just been rotated", async () => {
  await using dir = await tempDir("kws-log");
  const path = join(dir.path, "0.log");
  expect(lastLines(path)).toEqual([]);
  expect(sinceOf([])).toBeUndefined();
  const line = (time: string) => `2026-01-02T03:04:${time}Z stdout F a line\n`;
  await writeFile(`${path}.1`, line("01.000000007") + line("02.100000000") + line("02.050000007"));
  await writeFile(path, "");
  const last = lastLines(path);
  expect(last.map(({ key }) => key)).toEqual([
    "stdout 2026-01-02T03:04:02.100000000Z",
    "stdout 2026-01-02T03:04:02.050000007Z",
  ]);
  expect(sinceOf(last)).toBe("1767323041.900");
});
