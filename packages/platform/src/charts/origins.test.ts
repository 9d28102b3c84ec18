import { expect, test } from "vitest";
import { openLayers } from "./layers.ts";
import { keyPath, parseKeyPath } from "../project/key-path.ts";
import { type Leaf, leavesAt, leavesOf } from "./origins.ts";

/** The defaults, then the values of profiles. */
async function leaves(...texts: string[]): Promise<Leaf[]> {
  const layers = texts.map((text, index) => ({
    name: String(index),
    kind: index === 0 ? ("defaults" as const) : ("values" as const),
    file: `${index}.yaml`,
    text,
  }));
  return leavesOf(await openLayers(layers, () => Promise.reject(new Error("there are no secrets"))));
}

const told = (all: Leaf[]) =>
  all.map(({ keys, removed, origin, overridden }) =>
    [
      `${keyPath(keys)} ${removed ? "removed" : JSON.stringify(origin.value)} ${origin.at}`,
      ...overridden.map(({ value, at }) => `over ${JSON.stringify(value)} ${at}`),
    ].join(", "),
  );

test("every leaf is told with its place and all that it won over, the nearest first", async () => {
  const all = await leaves("a: 1\nb:\n  c: 1\n  d: [1]\n", "b:\n  c: 2\n", "b:\n  c: 3\n  e: {}\n");
  expect(told(all)).toEqual([
    "a 1 0.yaml:1:4",
    "b.c 3 2.yaml:2:6, over 2 1.yaml:2:6, over 1 0.yaml:3:6",
    "b.d [1] 0.yaml:4:6",
    "b.e {} 2.yaml:3:6",
  ]);
});

test.each([
  [
    "by null at its key",
    ["a: { b: 1, c: 1 }", "a: { b: null }"],
    "a.b removed 1.yaml:1:9, over 1 0.yaml:1:9",
  ],
  ["by null above it", ["x: 1\na: { b: 1 }", "a: null"], "a.b removed 1.yaml:1:4, over 1 0.yaml:2:9"],
  [
    "in a profile, by one that has the mapping anew after a null",
    ["", "a: { b: 1 }", "a: null", "a: { c: 1 }"],
    "a.b removed 2.yaml:1:4, over 1 1.yaml:1:9",
  ],
])("a value that is taken away %s is told", async (_case, texts, expected) => {
  const removed = (await leaves(...texts)).filter((leaf) => leaf.removed);
  expect(told(removed)).toEqual([expected]);
});

test("a default that shows through again is told as the default", async () => {
  const all = await leaves("a: { c: 2 }", "a: { c: 1 }", "a: null", "a: { b: 1 }");
  expect(told(all)).toEqual(["a.c 2 0.yaml:1:9, over 1 1.yaml:1:9", "a.b 1 3.yaml:1:9"]);
});

test("a mapping that became a scalar is one value, told with the mapping that it replaced", async () => {
  expect(told(await leaves("a: { b: 1 }", "a: 5"))).toEqual(['a 5 1.yaml:1:4, over {"b":1} 0.yaml:1:4']);
});

test("a key with dots is written with backslashes, a mapping's key means all below it, a list is one value", async () => {
  const all = await leaves("config:\n  app.port: 1\n  app: { port: 2 }\nconfigs: [1, 2]\n");
  const at = (key: string) => told(leavesAt(all, parseKeyPath(key)));
  expect(at(String.raw`config.app\.port`)).toEqual([String.raw`config.app\.port 1 0.yaml:2:13`]);
  expect(at("config")).toHaveLength(2);
  expect(at("configs[1]")).toEqual(["configs [1,2] 0.yaml:4:10"]);
  expect(at("config.app.port.number")).toEqual([]);
});
