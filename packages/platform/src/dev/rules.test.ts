import { expect, test } from "vitest";
import type { DevRule } from "../project/schema.ts";
import { react } from "./rules.ts";

const rules: DevRule[] = [
  { path: "public/**", action: "sync" },
  { path: "package-lock.json", action: "run", run: ["npm", "ci"] },
  { path: "**/*.proto", action: "run", run: ["make", "proto"] },
  { path: "Dockerfile", action: "rebuild" },
  { path: "**", action: "restart" },
];

test.each([
  [["src/app.ts"], "restart", []],
  [["public/logo.svg"], "sync", []],
  [["public/logo.svg", "src/deep/er/app.ts"], "restart", []],
  [["package-lock.json", "src/app.ts"], "run", [["npm", "ci"]]],
  [
    ["api/v1/orders.proto", "package-lock.json"],
    "run",
    [
      ["npm", "ci"],
      ["make", "proto"],
    ],
  ],
  [["Dockerfile", "package-lock.json"], "rebuild", [["npm", "ci"]]],
  [[".env"], "restart", []],
  [["src/.hidden/app.ts"], "restart", []],
] as const)("of %j comes %s", (paths, action, commands) => {
  expect(react(rules, [...paths])).toEqual({ action, commands });
});

test("the same command runs once, however many files ask for it", () => {
  expect(react(rules, ["a.proto", "b/c.proto"]).commands).toEqual([["make", "proto"]]);
});

test("a file that no rule is about is only synchronised", () => {
  expect(react([{ path: "src/**", action: "restart" }], ["README.md"])).toEqual({
    action: "sync",
    commands: [],
  });
});

test("patterns may begin where the service's folder does", () => {
  expect(react([{ path: "./src/**", action: "restart" }], ["src/a.ts"]).action).toBe("restart");
  expect(react([{ path: "/.env", action: "restart" }], [".env"]).action).toBe("restart");
});
