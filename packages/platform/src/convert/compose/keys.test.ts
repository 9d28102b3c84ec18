import { expect, test } from "vitest";
import { parseYaml } from "../../project/yaml-file.ts";
import { checkKeys } from "./check.ts";
import { keyRows } from "./keys.ts";
import { toTree } from "./tree.ts";

const check = (text: string) => checkKeys(toTree(parseYaml("compose.yaml", text, "compose")));

test("every key stands once in the table, below one that stands there too", () => {
  const keys = keyRows.map(([key]) => key);
  expect(new Set(keys).size).toBe(keys.length);
  const parentOf = (key: string) => key.split(".").slice(0, -1).join(".").replace(/\.\*$/, "");
  expect(keys.filter((key) => key.includes(".") && !keys.includes(parentOf(key)))).toEqual([]);
});

test("every key that is not carried over whole says what to do or what becomes of it", () => {
  expect(keyRows.filter(([, support, note]) => support !== "yes" && note === "")).toEqual([]);
});

test("a key that is left out is told with its place, and one that asks for nothing is not", () => {
  const text =
    "services:\n  web:\n    image: nginx\n    ulimits: { nofile: 1 }\n    init: false\n    x-own: 1\n";
  expect(check(text)).toEqual([
    {
      severity: "warning",
      key: "services.web.ulimits",
      at: "compose.yaml:4:5",
      message: "ulimits is left out: the node's administrator sets it, not the pod",
    },
  ]);
});

test("an unknown key is an error with the key that was probably meant", () => {
  const text =
    "services:\n  web:\n    image: nginx\n    deploy:\n      resources: { limits: { memroy: 1g } }\n";
  expect(check(text)).toEqual([
    {
      severity: "error",
      key: "services.web.deploy.resources.limits.memroy",
      at: "compose.yaml:5:30",
      message: '"memroy" is no key of Compose files, and is left out',
      fix: 'Did you mean "memory"?',
    },
  ]);
});
