import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadServices } from "../project/services.ts";
import { loadProject, type ProjectService } from "../project/workspace.ts";
import { findCredential } from "./credential.ts";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir("kws-credential");
});
afterEach(() => dir[Symbol.asyncDispose]());

async function services(credentials: string): Promise<ProjectService[]> {
  const files = {
    "kws.yaml": "services: [./payments, ./orders]\n",
    "payments/kws.yaml": `name: payments\n${credentials}`,
    "orders/kws.yaml": "name: orders\n",
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(dir.path, path, ".."), { recursive: true });
    await writeFile(join(dir.path, path), text);
  }
  return loadServices(await loadProject(join(dir.path, "kws.yaml")), { cache: dir.path, env: {} });
}

const declared = (key: string, next: string, client: string, value = "secrets.PAYMENTS_TOKEN") =>
  `credentials:\n  token:\n    key: ${key}\n    next: ${next}\n    clients: { ${client}: ${value} }\n`;

test("a credential is found by its provider and its name", async () => {
  const all = await services(declared("secrets.TOKEN", "secrets.NEXT", "orders", String.raw`env.api\.token`));
  const found = findCredential(all, "payments/token");
  expect(found).toMatchObject({
    provider: { service: { name: "payments" }, key: ["secrets", "TOKEN"] },
    next: ["secrets", "NEXT"],
    clients: [{ service: { name: "orders" }, key: ["env", "api.token"] }],
  });
});

test.each(["payments/tokens", "orders/token", "token", "payments/token/x"])(
  "%s is not found",
  async (name) => {
    const all = await services(declared("secrets.TOKEN", "secrets.NEXT", "orders"));
    expect(() => findCredential(all, name)).toThrow(
      expect.objectContaining({ code: "not-found", fix: expect.stringContaining("payments/token") }),
    );
  },
);

test.each([
  [
    "a key that is none",
    declared("secrets..TOKEN", "secrets.NEXT", "orders"),
    "4:10",
    "not the key of one value",
  ],
  ["an item of a list", declared("secrets.TOKEN", "tokens[1]", "orders"), "5:11", "not the key of one value"],
  ["the same key twice", declared("secrets.TOKEN", "secrets.TOKEN", "orders"), "5:11", "needs two keys"],
  [
    "an unknown client",
    declared("secrets.TOKEN", "secrets.NEXT", "order"),
    "6:16",
    "not a service of the workspace",
  ],
  ["itself as a client", declared("secrets.TOKEN", "secrets.NEXT", "payments"), "6:16", "its own credential"],
])("%s is refused at its place", async (_name, text, place, message) => {
  const all = await services(text);
  const find = () => findCredential(all, "payments/token");
  expect(find).toThrow(message);
  const at = `${join(dir.path, "payments/kws.yaml")}:${place}`;
  expect(find).toThrow(expect.objectContaining({ code: "config", at, fix: expect.any(String) }));
});
