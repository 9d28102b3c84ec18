import { mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { buildNode } from "./node-builder.ts";
import type { BuildNodeOptions } from "./node-builder.ts";
import { listDirectory, locate, readText } from "./rootfs.ts";
import { openImageStore } from "./store.ts";
import type { LocalImageStore } from "./store.ts";
import { removeTree } from "./unpack.ts";

let dir: string;
let store: LocalImageStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "node-builder-"));
  store = await openImageStore(join(dir, "store"));
  const config = { Env: ["PATH=/usr/bin"], Cmd: ["node"] };
  await store.addImage({ config, layers: [], references: ["base:1"] });
});
afterEach(() => removeTree(dir));

const service = () => join(dir, "repo/services/cart");

async function put(files: Record<string, string | object>) {
  for (const [path, content] of Object.entries(files)) {
    const file = join(dir, "repo", path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
  }
}

async function build(more: Partial<BuildNodeOptions> = {}) {
  const result = await buildNode({ dir: service(), store, base: "base:1", tags: ["cart:1"], ...more });
  const image = await store.find(result.digest);
  if (image === undefined) throw new Error("the image was not stored");
  return { ...result, image, read: (path: string) => readText(image.layers, path) };
}

/** A workspace: hoisted `a`, two versions of `b`, a linked package, and one that only development needs. */
async function workspace() {
  await put({
    "services/cart/package.json": {
      scripts: { start: "node --enable-source-maps src/server.js" },
      dependencies: { a: "1", b: "1", "@org/shared": "*" },
      optionalDependencies: { absent: "1" },
      devDependencies: { tester: "1" },
    },
    "services/cart/src/server.js": "server",
    "services/cart/.env": "SECRET=1",
    "services/cart/node_modules/b/package.json": { version: "1" },
    "services/cart/node_modules/.cache/x": "noise",
    "node_modules/a/package.json": { dependencies: { b: "2" } },
    "node_modules/a/lib/index.js": "a",
    "node_modules/b/package.json": { version: "2" },
    "node_modules/tester/package.json": {},
    "libs/shared/package.json": { dependencies: { a: "1", c: "1" } },
    "libs/shared/index.ts": "shared",
    "libs/shared/node_modules/c/package.json": { version: "c" },
  });
  await mkdir(join(dir, "repo/node_modules/@org"), { recursive: true });
  await symlink("../../libs/shared", join(dir, "repo/node_modules/@org/shared"));
}

test("the production closure is placed so that Node resolves what it does on this machine", async () => {
  await workspace();
  const { image, read } = await build();
  expect(await read("app/node_modules/a/lib/index.js")).toBe("a");
  expect(await read("app/node_modules/b/package.json")).toBe('{"version":"1"}');
  expect(await read("app/node_modules/a/node_modules/b/package.json")).toBe('{"version":"2"}');
  expect(await read("app/node_modules/@org/shared/index.ts")).toBe("shared");
  // Outside of node_modules, where Node strips types.
  expect((await locate(image.layers, "app/node_modules/@org/shared"))?.path).toBe(
    "app/workspaces/@org/shared",
  );
  expect(await read("app/node_modules/c/package.json")).toBe('{"version":"c"}');
  expect(await listDirectory(image.layers, "app/node_modules")).toEqual(["@org", "a", "b", "c"]);
});

test("the service's files are there without secrets and noise, and the command is its start script", async () => {
  await workspace();
  const { image } = await build();
  expect(await listDirectory(image.layers, "app")).toEqual([
    "node_modules",
    "package.json",
    "src",
    "workspaces",
  ]);
  expect(image.config).toEqual({
    Env: ["PATH=/usr/bin", "NODE_ENV=production"],
    WorkingDir: "/app",
    User: "1000",
    Cmd: ["node", "--enable-source-maps", "src/server.js"],
  });
});

test("a changed source leaves the dependencies' layer, an unchanged build leaves all", async () => {
  await workspace();
  const first = await build();
  expect(first.cached).toBe(false);
  const same = await build();
  expect(same.cached).toBe(true);
  expect(same.digest).toBe(first.digest);
  await put({ "services/cart/src/server.js": "changed" });
  const changed = await build();
  expect(changed.steps.map(({ instruction, cached }) => [instruction, cached])).toEqual([
    ["dependencies", true],
    ["source", false],
  ]);
  expect(changed.digest).not.toBe(first.digest);
});

test("what cannot be built says what to do", async () => {
  await put({ "services/cart/package.json": { main: "gone.js" } });
  await expect(build()).rejects.toThrow("does not say what to run");
  await put({ "services/cart/package.json": { scripts: { start: "tsc && node x.js" } } });
  await expect(build()).rejects.toThrow("is not a plain node command");
  await put({ "services/cart/package.json": { dependencies: { none: "1" } } });
  await expect(build({ entry: "x.js" })).rejects.toThrow('"none" is not installed');
  await expect(build({ entry: "x.js", base: "nothing:1" })).rejects.toThrow("not in the image store");
});
