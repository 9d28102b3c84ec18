/** Base images of a registry in this process. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import type { TempDir } from "@kws/base/tempdir";
import { mediaTypes, sha256 } from "@kws/oci/descriptor";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createPuller } from "../pull.ts";
import { startRegistry } from "../registry-fixture.ts";
import type { RegistryFixture } from "../registry-fixture.ts";
import { listDirectory } from "../rootfs.ts";
import { openImageStore } from "../store.ts";
import type { LocalImageStore } from "../store.ts";
import { buildDockerfile, checkDockerfile } from "./build.ts";
import type { BuildEvent, BuildOptions, CheckOptions } from "./build.ts";

let folder: TempDir;
let registry: RegistryFixture;
let store: LocalImageStore;
let base: string;

beforeEach(async () => {
  folder = await tempDir("kws-bases");
  await mkdir(join(folder.path, "context"));
  registry = await startRegistry();
  store = await openImageStore(join(folder.path, "store"));
  base = `${registry.host}/team/base`;
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** An image with one file, whose DIR is /there. Answers its digest. */
async function publish(file: string, tag?: string): Promise<string> {
  const other = await openImageStore(join(folder.path, "publisher"));
  const { descriptor } = await other.addLayer([{ path: file, type: "file", source: Buffer.from(file) }]);
  const bytes = await readFile(other.blobs.path(descriptor.digest));
  const layers = [{ mediaType: mediaTypes.layer, bytes, diffId: sha256(bytes) }];
  return registry.putImage({ layers, config: { Env: ["DIR=/there"] } }, tag).digest;
}

async function options(dockerfile: string): Promise<Omit<BuildOptions, "tags">> {
  const context = join(folder.path, "context");
  await writeFile(join(context, "Dockerfile"), dockerfile);
  await writeFile(join(context, "one"), "1");
  const node = { path: process.execPath, version: process.versions.node };
  return { context, store, puller: createPuller(store, {}), node };
}

async function build(dockerfile: string, more: Partial<BuildOptions> = {}): Promise<string[]> {
  const { digest } = await buildDockerfile({ ...(await options(dockerfile)), tags: ["demo:1"], ...more });
  const image = await store.find(digest);
  return listDirectory(image?.layers ?? [], "");
}

async function check(dockerfile: string, more: Partial<CheckOptions> = {}): Promise<void> {
  await checkDockerfile({ ...(await options(dockerfile)), ...more });
}

async function refusal(promise: Promise<unknown>): Promise<UserError> {
  const error = await promise.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return error as UserError;
}

const layers = () => registry.requests.filter((request) => request.includes("/blobs/"));

test("FROM and --from pull what is not stored, and tell how far they are", async () => {
  await publish("base", "1");
  await publish("tool", "2");
  const events: BuildEvent[] = [];
  const files = await build(`FROM ${base}:1\nCOPY --from=${base}:2 /tool /copied`, {
    onProgress: (event) => events.push(event),
  });
  expect(files).toEqual(["base", "copied"]);
  const pulls = events.filter((event) => event.type === "pull");
  expect(pulls[0]).toEqual({ type: "pull", reference: `${base}:1`, bytes: 0, total: 0 });
  expect(pulls.at(-1)).toMatchObject({ reference: `${base}:2` });
  expect(pulls.at(-1)?.bytes).toBe(pulls.at(-1)?.total);
});

test("a stored image is built on without its registry, which is asked for a newer one on request", async () => {
  await publish("old", "1");
  await build(`FROM ${base}:1`);
  await publish("new", "1");
  registry.requests.length = 0;
  expect(await build(`FROM ${base}:1`)).toEqual(["old"]);
  await check(`FROM ${base}:1`);
  expect(registry.requests).toEqual([]);
  expect(await build(`FROM ${base}:1`, { pull: true })).toEqual(["new"]);
});

test("a digest decides, whatever a tag beside it means here", async () => {
  const old = await publish("old", "1");
  await publish("new", "1");
  await build(`FROM ${base}:1`);
  expect(await build(`FROM ${base}:1@${old}`)).toEqual(["old"]);
  registry.requests.length = 0;
  expect(await build(`FROM ${base}@${old}`, { pull: true })).toEqual(["old"]);
  expect(registry.requests).toEqual([]);
});

test("where a newer one was wanted and the registry does not answer, the stored one is used, and that is said", async () => {
  await publish("old", "1");
  await build(`FROM ${base}:1`);
  await registry[Symbol.asyncDispose]();
  const events: BuildEvent[] = [];
  const files = await build(`FROM ${base}:1`, { pull: true, onProgress: (event) => events.push(event) });
  expect(files).toEqual(["old"]);
  expect(events.find((event) => event.type === "warning")?.message).toMatch(
    /nothing listens at .*; the stored image is used/,
  );
});

test("an interrupted pull is not taken for a registry that does not answer", async () => {
  await publish("old", "1");
  await build(`FROM ${base}:1`);
  const interrupted = new UserError("interrupted", { code: "interrupted" });
  const stopped = build(`FROM ${base}:1`, { pull: true, signal: AbortSignal.abort(interrupted) });
  expect((await refusal(stopped)).code).toBe("interrupted");
});

test("a check knows an image's variables without its layers", async () => {
  await publish("base", "1");
  await check(`FROM ${base}:1\nCOPY one \${DIR}/`);
  const error = await refusal(check(`FROM ${base}:1\nCOPY \${DIR}/absent /`));
  expect(error.message).toContain('"/there/absent" matches nothing');
  expect(layers()).toHaveLength(2);
  expect(new Set(layers()).size).toBe(1);
  expect(await store.list()).toEqual([]);
});

test.each([
  ["FROM scratch\nFROM BASE:absent", 2],
  ["FROM scratch\nCOPY --from=BASE:absent /x /", 2],
])("an image that its registry does not have is told at its line: %j", async (dockerfile, line) => {
  const text = dockerfile.replace("BASE", base);
  for (const attempt of [check, build]) {
    const error = await refusal(attempt(text));
    expect(error).toMatchObject({
      code: "config",
      at: `${join(folder.path, "context/Dockerfile")}:${line}:1`,
      message: `${base}:absent: ${registry.host} does not have it (404)`,
    });
  }
});

test("a registry that does not answer is told at the line of an image that is not stored", async () => {
  await registry[Symbol.asyncDispose]();
  const error = await refusal(check(`FROM ${base}:1`));
  expect(error).toMatchObject({ code: "failed", at: expect.stringMatching(/Dockerfile:1:1$/) as string });
  expect(error.message).toContain("nothing listens");
});

test("a name that could be a stage's is told as that, and one of Node with the image that needs no registry", async () => {
  const puller = {
    ...createPuller(store, {}),
    configOf: () => Promise.reject(new UserError("no", { fix: "Look." })),
  };
  expect((await refusal(check("FROM biulder", { puller }))).fix).toBe(
    "Look. Where a stage was meant: none above has this name.",
  );
  expect((await refusal(check("FROM node:24-slim", { puller }))).fix).toMatch(
    /^Look\. Or build on kws\.local\/node:\d+/,
  );
});

test("what is not a reference is told at its line", async () => {
  const error = await refusal(check("FROM Team/Base"));
  expect(error).toMatchObject({ code: "config", at: expect.stringMatching(/Dockerfile:1:1$/) as string });
});
