import { encrypt } from "@kws/sops/file";
import { ageKeys, type TestKeys } from "@kws/sops/testing/keyring";
import { expect, test } from "vitest";
import { effectiveValues, openLayers } from "../charts/layers.ts";
import { leavesOf } from "../charts/origins.ts";
import { secretOpener } from "./open.ts";

const file = "/chart/profiles/qa/secrets.yaml";
const now = new Date("2026-01-02T03:04:05Z");
const sealed = (keys: TestKeys, text: string) =>
  encrypt(text, { format: "yaml", keyring: keys.keyring, groups: [[keys.key]], now });
const opener = ({ identity }: { identity: string }) =>
  secretOpener(
    { env: { SOPS_AGE_KEY: identity }, home: "/nowhere", cwd: "/", clock: () => now.getTime() },
    new AbortController().signal,
  );

test("the values of an encrypted file merge with their types, and are told at their place in it", async () => {
  const keys = await ageKeys();
  const text = await sealed(
    keys,
    "# kept\nsecrets:\n  TOKEN: canary\n  id: 1234567890123456789\n  on: true\n",
  );
  expect(text).not.toContain("canary");
  const layers = await openLayers([{ name: "qa", kind: "secrets", file, text }], opener(keys));
  expect(effectiveValues(layers)).toEqual({
    secrets: { TOKEN: "canary", id: "1234567890123456789", on: true },
  });
  const token = leavesOf(layers).find(({ keys: [, key] }) => key === "TOKEN");
  const line = text.split("\n").findIndex((one) => one.includes("TOKEN")) + 1;
  expect(token?.origin.at).toMatch(new RegExp(`^${file}:${line}:\\d+$`));
});

test("without its key, a file is refused by name, with kws' own exit code", async () => {
  const text = await sealed(await ageKeys(), "a: canary\n");
  await expect(opener(await ageKeys())(file, text)).rejects.toMatchObject({
    code: "permission",
    exitCode: 7,
    at: file,
    fix: expect.any(String),
  });
});

test.each([
  ["one that is not encrypted", (text: string) => text.replace(/^sops:[^]*/m, "")],
  ["one that was cut off", (text: string) => text.slice(0, -200)],
  [
    "one with a value that was changed",
    (text: string) => text.replace("b_unencrypted: 1", "b_unencrypted: 2"),
  ],
])("%s is refused by name", async (_case, spoil) => {
  const keys = await ageKeys();
  const text = spoil(await sealed(keys, "a: canary\nb_unencrypted: 1\n"));
  await expect(opener(keys)(file, text)).rejects.toMatchObject({
    name: "UserError",
    at: expect.stringContaining(file),
    message: expect.not.stringContaining("canary"),
  });
});
