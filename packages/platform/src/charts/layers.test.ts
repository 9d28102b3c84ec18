import { expect, test } from "vitest";
import {
  effectiveValues,
  type Layer,
  mergeLayers,
  mergeValues,
  openLayers,
  type OpenLayer,
} from "./layers.ts";
import { parseYaml } from "../project/yaml-file.ts";

function open(...texts: string[]): Promise<OpenLayer[]> {
  const layers = texts.map((text, index): Layer => {
    const kind = index === 0 ? "defaults" : index % 2 === 1 ? "values" : "secrets";
    return { name: kind, kind, file: `/${index}.yaml`, text };
  });
  return openLayers(layers, (file, text) =>
    Promise.resolve(parseYaml(file, text.replaceAll("ENC", "plain")).value),
  );
}

test("values merge as Helm's do", () => {
  expect(mergeValues({ a: { b: 1, c: [1, 2] }, d: 1 }, { a: { c: [3] }, e: null })).toEqual({
    a: { b: 1, c: [3] },
    d: 1,
    e: null,
  });
  const merged = mergeValues({}, JSON.parse('{"__proto__": {"polluted": true}}') as Record<string, unknown>);
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  expect(Object.keys(merged)).toEqual(["__proto__"]);
});

test("secrets win over the values of their profile, and Helm is not given the defaults", async () => {
  const layers = await open("a: 1\nb: 1\n", "b: 2\nc: 2\n", "c: ENC\n");
  expect(mergeLayers(layers)).toEqual({ b: 2, c: "plain" });
  expect(effectiveValues(layers)).toEqual({ a: 1, b: 2, c: "plain" });
});

// What `helm template` answers for the same files.
test.each([
  ["null takes a default away", ["a: { c: 2, d: 3 }", "a: { c: null }"], { a: { d: 3 } }],
  ["null without a default stays", ["a: {}", "b: null\na: { x: null }"], { a: { x: null }, b: null }],
  ["a default that is null stays", ["a: { k: null, z: 1 }", "a: { z: 2 }"], { a: { k: null, z: 2 } }],
  ["a mapping replaces a scalar", ["a: 1", "a: { b: 1 }"], { a: { b: 1 } }],
  ["a scalar replaces a mapping", ["a: { b: 1 }", "a: 1"], { a: 1 }],
  ["a list replaces a list", ["a: [1, 2]", "a: [3]"], { a: [3] }],
  [
    "a mapping after a null shows the defaults again",
    ["a: { c: 2 }", "a: null", "a: { b: 1 }"],
    { a: { b: 1, c: 2 } },
  ],
])("%s", async (_case, texts, expected) => {
  expect(effectiveValues(await open(...texts))).toEqual(expected);
});

test("scalars are what Helm's parser takes them for", async () => {
  const text = "a: yes\nb: 0644\nc: 12:30:45\nd: 2026-01-02\ne: { <<: { f: on } }\n";
  expect(mergeLayers(await open("", text))).toEqual({
    a: true,
    b: 420,
    c: "12:30:45",
    d: "2026-01-02",
    e: { f: true },
  });
});

test("values that are no mapping are refused", async () => {
  await expect(open("- a\n")).rejects.toMatchObject({ code: "config", at: "/0.yaml:1:1" });
});

test("encrypted values outside of secrets are refused at their line", async () => {
  await expect(open("a: 1\n", "a: 1\nb: ENC[AES256_GCM,data:x]\n")).rejects.toMatchObject({
    code: "config",
    at: "/1.yaml:2:1",
  });
});
