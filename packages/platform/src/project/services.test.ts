import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { repositoryKey } from "./clones.ts";
import { linkTarget, writeLinks } from "./links.ts";
import { loadServices, openServices } from "./services.ts";
import { loadProject, type Project } from "./workspace.ts";

let dir: TempDir;
beforeEach(async () => {
  dir = await tempDir("kws-services");
});
afterEach(() => dir[Symbol.asyncDispose]());

const options = { cache: "/nonexistent", env: { PATH: process.env["PATH"] } };

async function files(contents: Record<string, string>): Promise<Project> {
  for (const [path, text] of Object.entries(contents)) {
    await mkdir(dirname(join(dir.path, path)), { recursive: true });
    await writeFile(join(dir.path, path), text);
  }
  return loadProject(join(dir.path, "shop/kws.yaml"));
}

const remote = (url: string) =>
  `[core]\n\tbare = false\n[remote "origin"]\n\turl = ${url}\n[branch "main"]\n`;

describe.each([
  ["a mapping", "services: { web: { path: web }, api: { path: api }, bad: { path: bad } }\n"],
  ["a list", "services: ['*']\n"],
])("of %s", (_kind, yaml) => {
  const shop = {
    "shop/kws.yaml": yaml,
    "shop/web/kws.yaml": "name: web\ndependsOn: [api]\n",
    "shop/api/kws.yaml": "name: api\n",
    "shop/bad/kws.yaml": "name: [\n",
  };

  test("services that nobody asks for are not read", async () => {
    const services = openServices(await files(shop), options);
    const [web] = await services.find(["web"]);
    expect(web?.dependsOn).toEqual(["api"]);
    expect(await services.has("api")).toBe(true);
    await expect(services.all()).rejects.toMatchObject({ code: "config" });
  });

  test("a name that is no service is told with the nearest", async () => {
    const project = await files({ ...shop, "shop/bad/kws.yaml": "name: bad\n" });
    await expect(loadServices(project, options, ["wep"])).rejects.toMatchObject({
      message: 'the workspace has no service "wep"',
      fix: 'Did you mean "web"?',
    });
  });
});

test("a service of a list may be called otherwise than its folder", async () => {
  const project = await files({ "shop/kws.yaml": "services: ['*']\n", "shop/one/kws.yaml": "name: two\n" });
  expect((await loadServices(project, options, ["two"]))[0]?.dir).toBe(join(dir.path, "shop/one"));
});

describe("a link", () => {
  const shop = {
    "shop/kws.yaml":
      "services:\n  orders: { git: 'https://git.example.com/team/orders.git', ref: v1, path: service }\n  web: { version: 1.0.0 }\n",
    "orders/service/kws.yaml": "name: orders\n",
    "web/kws.yaml": "name: web\n",
  };

  test("stands in for a pin and for a package, and nothing is cloned", async () => {
    const project = await files({
      ...shop,
      "shop/kws.local.yaml": "links: { orders: ../orders/service, web: ../web }\n",
    });
    const services = await loadServices(project, options);
    expect(services.map((one) => [one.name, one.dir, one.origin?.how])).toEqual([
      ["orders", join(dir.path, "orders/service"), "link"],
      ["web", join(dir.path, "web"), "link"],
    ]);
  });

  test("to a folder that is gone is told at its place", async () => {
    const project = await files({ ...shop, "shop/kws.local.yaml": "links:\n  web: ../gone\n" });
    await expect(loadServices(project, options, ["web"])).rejects.toMatchObject({
      at: `${join(dir.path, "shop/kws.local.yaml")}:2:8`,
    });
  });

  test("leads to the service's folder inside a clone, and refuses a folder of something else", async () => {
    const project = await files(shop);
    const clone = join(dir.path, "orders");
    expect(await linkTarget(project, "orders", clone)).toBe(join(clone, "service"));
    await expect(linkTarget(project, "orders", join(dir.path, "web"))).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining('does not hold the service "orders"'),
    });
    await expect(linkTarget(project, "order", clone)).rejects.toMatchObject({
      fix: 'Did you mean "orders"?',
    });
  });

  test("is written without touching the rest of the file, and removed again", async () => {
    const path = join(dir.path, "shop/kws.local.yaml");
    const text = "# mine\ncluster: { name: own } # not the shared one\nlinks:\n  web: ../web\n";
    const project = await files({ ...shop, "shop/kws.local.yaml": text });
    expect(project.cluster).toEqual({ name: "own" });
    await writeLinks(project, { orders: "../orders/service" });
    expect(await readFile(path, "utf8")).toBe(`${text}  orders: ../orders/service\n`);
    await writeLinks(project, { orders: undefined });
    expect(await readFile(path, "utf8")).toBe(text);
  });

  test("makes the file where there is none", async () => {
    const project = await files(shop);
    await writeLinks(project, { web: "../web" });
    expect(await readFile(join(dir.path, "shop/kws.local.yaml"), "utf8")).toBe("links:\n  web: ../web\n");
  });
});

describe("a clone beside the workspace", () => {
  const shop = {
    "shop/kws.yaml": "services:\n  orders: { git: 'https://git.example.com/team/orders.git', ref: v1 }\n",
    "mine/.git/config": remote("git@git.example.com:team/orders.git"),
    "mine/kws.yaml": "name: orders\n",
    "other/.git/config": remote("https://git.example.com/team/other.git"),
  };

  test("is taken where kws.local.yaml says so", async () => {
    const project = await files({ ...shop, "shop/kws.local.yaml": "useClones: true\n" });
    const [orders] = await loadServices(project, options);
    expect([orders?.dir, orders?.origin?.how]).toEqual([join(dir.path, "mine"), "clone"]);
  });

  test("counts as a worktree too, and not where a submodule's parent is the repository", async () => {
    const project = await files({
      ...shop,
      "mine/.git/config": "",
      "main/.git/config": "",
      "bare/config": remote("ssh://git@git.example.com:2222/team/orders"),
      "tree/.git": `gitdir: ${join(dir.path, "bare/worktrees/tree")}\n`,
      "tree/kws.yaml": "name: orders\n",
      "super/modules/sub/config": remote("https://git.example.com/team/other"),
      "super/config": remote("https://git.example.com/team/orders"),
      "sub/.git": "gitdir: ../super/modules/sub\n",
      "shop/kws.local.yaml": "useClones: true\n",
    });
    const [orders] = await loadServices(project, options);
    expect(orders?.dir).toBe(join(dir.path, "tree"));
  });

  test("is not chosen among several", async () => {
    const project = await files({
      ...shop,
      "shop/kws.local.yaml": "useClones: true\n",
      "yours/.git/config": remote("https://someone:secret@git.example.com/team/orders"),
    });
    await expect(loadServices(project, options)).rejects.toMatchObject({
      code: "config",
      message: expect.stringContaining(`${join(dir.path, "mine")}, ${join(dir.path, "yours")}`),
    });
  });

  test("is known by any spelling of the address", () => {
    const key = repositoryKey("https://git.example.com/team/orders", "/");
    const same = ["git@git.example.com:team/orders.git", "ssh://git@GIT.example.com:22/team/orders.git/"];
    expect(same.map((url) => repositoryKey(url, "/"))).toEqual([key, key]);
    expect(repositoryKey("../origin.git", "/home/me/shop")).toBe(
      repositoryKey("file:///home/me/origin", "/"),
    );
  });
});
