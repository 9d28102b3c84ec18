/** Random changes on both sides at once: afterwards both hold the same, and nothing that was written is lost. */
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test, vi } from "vitest";
import { isErrno } from "@kws/base/errors";
import { makePair, picture } from "./testing/pair.ts";

/** Numbers that look random and are the same in each run (mulberry32). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const folders = ["", "d0/", "d1/", "d0/e0/", "d1/e1/e2/"];
const conflict = /\.kws-conflict/;

/** One change, without a turn for anybody else; the text where it is one that was written. */
function change(root: string, random: (below: number) => number, text: string): string | undefined {
  const name = (prefix: string, count: number): string =>
    join(root, `${folders[random(folders.length)]}${prefix}${random(count)}`);
  const file = name("f", 5);
  mkdirSync(dirname(file), { recursive: true });
  const action = random(10);
  if (action === 0) rmSync(dirname(file) === root ? file : dirname(file), { recursive: true });
  else if (action === 1) unlinkSync(file);
  else if (action === 2) renameSync(file, name("f", 5));
  else if (action === 3) chmodSync(file, random(2) === 0 ? 0o755 : 0o644);
  else if (action === 4) symlinkSync(`f${random(5)}`, name("l", 2));
  else if (action === 5) mkdirSync(name("empty", 2), { recursive: true });
  else if (action === 6) {
    // As editors save: another file takes the place.
    writeFileSync(`${file}~`, text);
    renameSync(`${file}~`, file);
    return text;
  } else {
    writeFileSync(file, text);
    return text;
  }
  return undefined;
}

test.each([1, 2])("random changes on both sides converge (seed %i)", { timeout: 60_000 }, async (seed) => {
  await using pair = await makePair();
  const random = randomNumbers(seed);
  const sync = await pair.start();
  for (let round = 0; round < 3; round++) {
    const written: string[] = [];
    for (let count = 0; count < 40; count++) {
      const side = random(2) === 0 ? pair.near : pair.far;
      const text = `${seed}.${round}.${count} `.repeat(1 + random(50));
      try {
        const result = change(side, random, text);
        if (result !== undefined) written.push(result);
      } catch (error) {
        // Of something that is not there, or that is in the way.
        if (!isErrno(error, "ENOENT", "EEXIST", "ENOTDIR", "EISDIR")) throw error;
      }
    }
    const there = new Set([...contents(pair.near), ...contents(pair.far)]);
    await vi.waitFor(
      async () => {
        await sync.flush();
        expect(picture(pair.near, conflict)).toEqual(picture(pair.far, conflict));
      },
      { timeout: 15_000, interval: 100 },
    );
    const kept = new Set(contents(pair.near));
    expect(written.filter((text) => there.has(text) && !kept.has(text))).toEqual([]);
  }
  expect(pair.problems).toEqual([]);
  expect(Object.keys(picture(pair.far)).filter((path) => conflict.test(path))).toEqual([]);
});

function contents(root: string): string[] {
  return Object.values(picture(root)).map((line) => line.replace(/^(file|program) /, ""));
}
