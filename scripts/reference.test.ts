import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { analyzeReference } from "./reference/analyze.ts";
import { apiReference } from "./reference/api.ts";
import { cliReference } from "./reference/cli.ts";
import { composeReference } from "./reference/compose.ts";

const published = (name: string): Promise<string> =>
  readFile(new URL(`../docs/reference/${name}`, import.meta.url), "utf8");

test("the reference of commands is current: run `npm run reference` where it is not", async () => {
  expect(await published("cli.md")).toBe(await cliReference());
});

test("the reference of checks is current: run `npm run reference` where it is not", async () => {
  expect(await published("analyze.md")).toBe(analyzeReference());
});

test("the support matrix of Compose files is current: run `npm run reference` where it is not", async () => {
  expect(await published("compose.md")).toBe(composeReference());
});

test("the reference of the served API is current: run `npm run reference` where it is not", async () => {
  expect(await published("api.md")).toBe(apiReference());
});
