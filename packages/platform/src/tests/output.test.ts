import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import type { Connection } from "../providers/provider.ts";
import { captureOutput } from "./output.ts";

async function captured(chunks: () => Generator<string>) {
  await using dir = await tempDir("kws-output");
  const file = join(dir.path, "output.log");
  const transport = {
    request: async () => ({
      status: 200,
      headers: {},
      body: (async function* () {
        for (const chunk of chunks()) yield Buffer.from(chunk);
      })(),
    }),
  };
  const source = { namespace: "a", pod: "b", container: "c" };
  const lines: string[] = [];
  const output = captureOutput({ transport } as unknown as Connection, source, {
    file,
    onLine: (line) => lines.push(line),
    signal: new AbortController().signal,
  });
  await output.done;
  return {
    tail: output.tail(3),
    cut: output.cut(),
    lines,
    size: (await stat(file)).size,
    text: await readFile(file, "utf8"),
  };
}

test("output is kept as it was, and its end is at hand", async () => {
  const { text, tail, cut } = await captured(function* () {
    yield "one\ntwo\nth";
    yield "ree\n\nfour";
  });
  expect(text).toBe("one\ntwo\nthree\n\nfour");
  expect(tail).toEqual(["two", "three", "four"]);
  expect(cut).toBe(false);
});

test("of too much output the file has the beginning, and memory the end", async () => {
  const { size, cut, tail } = await captured(function* () {
    for (let n = 0; n < 40; n++) yield "x".repeat(1024 * 1024);
    yield "\nthe end\n";
  });
  expect(cut).toBe(true);
  expect(size).toBe(32 * 1024 * 1024);
  expect(tail.at(-1)).toBe("the end");
  expect(tail.join("").length).toBeLessThan(33 * 1024);
});
