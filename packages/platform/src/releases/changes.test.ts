import { expect, test } from "vitest";
import { compareManifests } from "./changes.ts";

const configMap = (name: string, data: string) =>
  `---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\ndata: ${data}\n`;

test("objects are told by kind and name, and what differs in them by its keys alone", () => {
  const before =
    configMap("kept", "{ A: x }") + configMap("gone", "{}") + configMap("other", "{ a.b: x, L: [1, 2] }");
  const after =
    configMap("new", "{}") + configMap("other", "{ a.b: y, L: [1, 3] }") + configMap("kept", "{ A: x }");
  expect(compareManifests(before, after)).toEqual([
    { kind: "ConfigMap", name: "gone", change: "removed", fields: [] },
    { kind: "ConfigMap", name: "new", change: "created", fields: [] },
    { kind: "ConfigMap", name: "other", change: "changed", fields: [String.raw`data.a\.b`, "data.L[1]"] },
  ]);
});

test("the order of keys and of objects is no difference", () => {
  const before = configMap("one", "{ A: x, B: y }") + configMap("two", "{}");
  const after = configMap("two", "{}") + configMap("one", "{ B: y, A: x }");
  expect(compareManifests(before, after)).toEqual([]);
});

test("nothing before means that all is created", () => {
  expect(compareManifests("", configMap("a", "{}"))).toMatchObject([{ change: "created" }]);
});
