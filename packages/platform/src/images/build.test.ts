import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, test } from "vitest";
import type { ImageBuild, Provider } from "../providers/provider.ts";
import { loadServices } from "../project/services.ts";
import { loadProject, type ProjectService } from "../project/workspace.ts";
import { buildImages, checkBuilds } from "./build.ts";

async function service(root: string, yaml: string): Promise<ProjectService> {
  await mkdir(join(root, "api"), { recursive: true });
  await writeFile(join(root, "api/kws.yaml"), yaml);
  await writeFile(join(root, "api/package.json"), "{}");
  const [only] = await loadServices(await loadProject(join(root, "api/kws.yaml")), { cache: root, env: {} });
  if (only === undefined) throw new Error("no service");
  return only;
}

function recorder(): { builds: ImageBuild[]; provider: Provider } {
  const builds: ImageBuild[] = [];
  const unused = () => Promise.reject(new Error("not part of this test"));
  const provider: Provider = {
    name: "embedded",
    start: unused,
    stop: unused,
    reset: unused,
    status: unused,
    kubeconfig: unused,
    snapshots: () => {
      throw new Error("not used");
    },
    checkBuild: async () => {},
    imageRepository: unused,
    buildImage: async (build) => {
      builds.push(build);
      return { repository: `r/${build.name}`, tag: "t", digest: "sha256:1", cached: true };
    },
  };
  return { builds, provider };
}

const prepareYaml = (argv: string) => `name: api\nbuild:\n  prepare: ${argv}\n`;
const appendRun = JSON.stringify([process.execPath, "-e", "require('fs').appendFileSync('../runs', 'x')"]);

test("the prepare command runs again only when the folder changes", async () => {
  await using dir = await tempDir("kws-images");
  const { provider } = recorder();
  const owner = await service(dir.path, prepareYaml(appendRun));
  const build = () => buildImages(owner, provider, "shop", { cache: join(dir.path, "cache"), env: {} });
  const runs = () => readFile(join(dir.path, "runs"), "utf8");
  expect((await build()).cached).toBe(false);
  expect((await build()).cached).toBe(true);
  expect(await runs()).toBe("x");
  await writeFile(join(dir.path, "api/package.json"), '{"name":"changed"}');
  await build();
  expect(await runs()).toBe("xx");
});

test("a folder that the command made and that is gone makes it run again", async () => {
  await using dir = await tempDir("kws-images");
  const { provider } = recorder();
  const script = "require('fs').mkdirSync('node_modules', { recursive: true })";
  const owner = await service(dir.path, prepareYaml(JSON.stringify([process.execPath, "-e", script])));
  const build = () => buildImages(owner, provider, "shop", { cache: join(dir.path, "cache"), env: {} });
  await build();
  expect((await build()).cached).toBe(true);
  await rm(join(dir.path, "api/node_modules"), { recursive: true });
  expect((await build()).cached).toBe(false);
});

test("a prepare command that fails is told with its last lines and its place, and runs next time", async () => {
  await using dir = await tempDir("kws-images");
  const { provider, builds } = recorder();
  const argv = JSON.stringify([process.execPath, "-e", "console.error('no lock file'); process.exit(3)"]);
  const owner = await service(dir.path, prepareYaml(argv));
  for (let i = 0; i < 2; i++) {
    await expect(buildImages(owner, provider, "shop", { cache: dir.path, env: {} })).rejects.toMatchObject({
      message: expect.stringContaining("no lock file"),
      at: expect.stringContaining("kws.yaml:3:"),
    });
  }
  expect(builds).toEqual([]);
});

test("one image is told as image, several under their keys", async () => {
  await using dir = await tempDir("kws-images");
  const { provider, builds } = recorder();
  const one = await buildImages(await service(dir.path, "name: api\nbuild: {}\n"), provider, "shop", {
    cache: dir.path,
    env: {},
  });
  expect(one.values).toEqual({ image: { repository: "r/shop/api", tag: "t", digest: "sha256:1" } });
  expect(builds[0]).toMatchObject({ builder: "node", name: "shop/api" });
  const yaml = "name: api\nimages: { web: {}, worker: {} }\n";
  const two = await buildImages(await service(dir.path, yaml), provider, "shop", {
    cache: dir.path,
    env: {},
  });
  expect(Object.keys(two.values)).toEqual(["web", "worker"]);
});

test.each(["dockerfile: ../Dockerfile", "context: /etc", "context: none", "dockerfile: Dockerfile.none"])(
  "%s is refused before anything is built",
  async (line) => {
    await using dir = await tempDir("kws-images");
    await writeFile(join(dir.path, "Dockerfile"), "FROM scratch\n");
    const owner = await service(dir.path, `name: api\nbuild:\n  ${line}\n`);
    await expect(checkBuilds(owner, recorder().provider, "shop")).rejects.toMatchObject({
      code: "config",
      at: expect.stringContaining("kws.yaml:3:"),
    });
  },
);
