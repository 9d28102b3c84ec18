import { execFileSync } from "node:child_process";
import { mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { tempDir } from "@kws/base/tempdir";
import { describe, expect, test } from "vitest";
import { checkout } from "./git.ts";
import { checkGraph, closure, waves } from "./graph.ts";
import { locations } from "./locations.ts";
import { nearest } from "./nearest.ts";
import { Service, Workspace } from "./schema.ts";
import { validate } from "./validate.ts";
import { loadServices } from "./services.ts";
import { findProjectFile, findStack, inside, loadProject } from "./workspace.ts";
import { parseYaml, readYamlFile } from "./yaml-file.ts";

async function files(root: string, contents: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(contents)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

async function failure(work: () => unknown): Promise<UserError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const git = { cache: "/nonexistent", env: { PATH: process.env["PATH"] } };

describe("a kws.yaml with a fault", () => {
  test.each([
    ["an unknown key", "name: a\nchrat: ./chart\n", 'unknown key "chrat"', "f:2:1", 'Did you mean "chart"?'],
    [
      "an unknown nested key",
      "name: a\nbuild:\n  bulder: node\n",
      'unknown key "bulder" in build',
      "f:3:3",
      'Did you mean "builder"?',
    ],
    ["an unknown alias", "name: *x\n", "*x stands for nothing: there is no &x before it", "f:1:7", undefined],
    [
      "several documents",
      "name: a\n---\nname: b\n",
      "not valid YAML: the file holds several documents, and one is meant",
      "f:2:1",
      undefined,
    ],
    [
      "a wrong type",
      "name: a\ndependsOn: postgres\n",
      'dependsOn must be a list, not "postgres"',
      "f:2:12",
      undefined,
    ],
    [
      "a wrong item",
      "name: a\ndependsOn:\n  - 5\n",
      "dependsOn[0] must be a string or a mapping, not 5",
      "f:3:5",
      undefined,
    ],
    [
      "a wrong choice",
      "name: a\nbuild: { builder: nod }\n",
      'build.builder cannot be "nod"',
      "f:2:19",
      'Did you mean "node"?',
    ],
    [
      "a bad name",
      "name: My_Service\n",
      'name cannot be "My_Service"',
      "f:1:7",
      expect.stringContaining("lower-case"),
    ],
    ["no name", "chart: ./chart\n", "name is missing", "f:1:1", 'Add "name".'],
    ["no mapping", "- a\n", "the file must be a mapping, not a list", "f:1:1", undefined],
    [
      "a union's fault",
      "name: a\nbuild:\n  prepare: {}\n",
      "build.prepare.run is missing",
      "f:3:12",
      'Add "run".',
    ],
    ["an empty command", "name: a\nbuild: { prepare: [] }\n", "build.prepare is empty", "f:2:19", undefined],
  ])("%s is named with its place", async (_case, text, message, at, fix) => {
    const error = await failure(() => validate(parseYaml("f", text), Service, "it"));
    expect({ message: error.message, at: error.at, fix: error.fix, code: error.code }).toEqual({
      message,
      at,
      fix,
      code: "config",
    });
  });

  test("a key that stands twice is named with both places, at any depth", async () => {
    const text = "services:\n  orders: { path: a }\n  # the other one\n  orders:\n    path: b\n";
    const error = await failure(async () => parseYaml("f", text));
    expect(error).toMatchObject({
      message: 'the key "orders" is there twice: it stands on line 2 too',
      code: "config",
      at: "f:4:3",
      fix: expect.stringContaining("Remove one"),
    });
  });

  test("a source that is neither a path nor a repository is explained by the nearer of the two", async () => {
    const text = "services:\n  orders: { git: https://example.org/o.git, rev: v1 }\n";
    const error = await failure(() => validate(parseYaml("f", text), Workspace, "it"));
    expect(error.message).toBe('unknown key "rev" in services.orders');
    expect(error).toMatchObject({ at: "f:2:45", fix: 'Did you mean "ref"?' });
  });

  test.each([
    ["bad indentation", "a:\n  - b\n c: d\n"],
    ["a key twice", "name: a\nname: b\n"],
    ["an open quote", 'name: "abc\n'],
    ["several documents", "name: a\n---\nname: b\n"],
  ])("%s is a YAML error with a position", async (_case, text) => {
    const error = await failure(() => parseYaml("f", text));
    expect(error.code).toBe("config");
    expect(error.at).toMatch(/^f:\d+:\d+$/);
  });

  test("a bomb of aliases is refused quickly", async () => {
    const level = (n: number) =>
      `a${n}: &a${n} [${Array.from({ length: 9 }, () => `*a${n - 1}`).join(", ")}]\n`;
    const text = `a0: &a0 [x]\n${Array.from({ length: 12 }, (_, n) => level(n + 1)).join("")}`;
    const error = await failure(() => parseYaml("f", text));
    expect(error).toMatchObject({ code: "config", message: expect.stringContaining("aliases") });
  });

  test.each([
    ["flow lists", "[".repeat(100_000)],
    ["block lists", `${"- ".repeat(50_000)}x`],
    ["mappings", Array.from({ length: 300 }, (_, n) => `${" ".repeat(n)}a:\n`).join("")],
  ])("%s nested without end are refused", async (_case, text) => {
    expect(await failure(() => parseYaml("f", text))).toMatchObject({ code: "config" });
  });

  test("a key called __proto__ is an unknown key like any other", async () => {
    const error = await failure(() =>
      validate(parseYaml("f", "name: a\n__proto__: { x: 1 }\n"), Service, "it"),
    );
    expect(error.message).toContain("__proto__");
  });

  test("100 MB are refused without being read", async () => {
    await using dir = await tempDir("kws-project");
    const path = join(dir.path, "kws.yaml");
    await writeFile(path, "");
    await truncate(path, 100 * 1024 * 1024);
    expect(await failure(() => readYamlFile(path))).toMatchObject({
      code: "config",
      message: /too big: 100 MB/,
    });
  });

  test("a folder in the file's place is said so", async () => {
    await using dir = await tempDir("kws-project");
    expect(await failure(() => readYamlFile(dir.path))).toMatchObject({ message: /is not a file/ });
  });
});

describe("a workspace", () => {
  const shop = {
    "kws.yaml":
      "name: shop\nservices: [./services/*]\nstacks:\n  shop: {}\n  small: { services: [web], profile: tiny }\n",
    "services/web/kws.yaml": "name: web\ndependsOn: [api]\n",
    "services/api/kws.yaml": "name: api\n",
  };

  test("is found from a service's folder, and its services by pattern", async () => {
    await using dir = await tempDir("kws-project");
    await files(dir.path, shop);
    const path = await findProjectFile(join(dir.path, "services/web"));
    expect(path).toBe(join(dir.path, "kws.yaml"));
    const project = await loadProject(path);
    const services = await loadServices(project, git);
    expect(services.map((service) => service.name)).toEqual(["api", "web"]);
    expect(findStack(project, "small")).toEqual({
      name: "small",
      namespace: "small",
      profile: "tiny",
      services: ["web"],
    });
    expect(() => findStack(project, "smal")).toThrow(/no stack "smal"/);
    expect(() => findStack(project)).toThrow(/several stacks/);
  });

  test("of one service needs no file of its own", async () => {
    await using dir = await tempDir("kws-project");
    await files(dir.path, { "kws.yaml": "name: api\n" });
    const project = await loadProject(await findProjectFile(dir.path));
    expect(project).toMatchObject({ name: "api", implicit: true });
    expect((await loadServices(project, git)).map((service) => service.dir)).toEqual([dir.path]);
  });

  test.each([
    [
      "an unknown dependency",
      { "services/web/kws.yaml": "name: web\ndependsOn: [apo]\n" },
      /web depends on "apo"/,
      "services/web/kws.yaml:2:13",
      'Did you mean "api"?',
    ],
    [
      "a cycle",
      { "services/api/kws.yaml": "name: api\ndependsOn:\n  - web\n" },
      /api → web → api/,
      "services/api/kws.yaml:3:5",
      "Remove one of these dependencies.",
    ],
    [
      "a name used twice",
      { "services/api/kws.yaml": "name: web\n" },
      /two services are called "web"/,
      "services/web/kws.yaml:1:7",
      "Rename one of them.",
    ],
    [
      "an unknown service of a stack",
      { "kws.yaml": shop["kws.yaml"].replace("[web]", "[wep]") },
      /"wep", which is not a service/,
      "kws.yaml:5:23",
      'Did you mean "web"?',
    ],
    [
      "a pattern without a match",
      { "kws.yaml": "services: [./nowhere/*]\n" },
      /no folder that matches/,
      "kws.yaml:1:12",
      "Correct the pattern, or run `kws init` in the service's folder.",
    ],
    [
      "a folder without a service",
      { "kws.yaml": "services: { x: { path: ./none } }\n" },
      /holds no kws.yaml/,
      "kws.yaml:1:24",
      "Correct the path.",
    ],
  ])("with %s is refused at its place", async (_case, changed, message, at, fix) => {
    await using dir = await tempDir("kws-project");
    await files(dir.path, { ...shop, ...changed });
    const error = await failure(async () => loadServices(await loadProject(join(dir.path, "kws.yaml")), git));
    expect(error.message).toMatch(message);
    expect(error.at).toBe(join(dir.path, at));
    expect(error.fix).toBe(fix);
  });

  test("that is nowhere says how to make one", async () => {
    await using dir = await tempDir("kws-project");
    expect(await failure(() => findProjectFile(dir.path))).toMatchObject({ code: "config", fix: /kws init/ });
  });

  test("paths and symlinks that lead out of a clone are refused", async () => {
    await using dir = await tempDir("kws-project");
    await files(dir.path, { "clone/a/x": "", "secret/x": "" });
    await symlink("../secret", join(dir.path, "clone/link"));
    const clone = join(dir.path, "clone");
    expect(await inside(clone, "a", "f")).toBe(join(clone, "a"));
    for (const path of ["..", "../secret", "/etc", "link", "link/x"]) {
      expect(await failure(() => inside(clone, path, "f"))).toMatchObject({ at: "f" });
    }
  });
});

describe("services in git", () => {
  function repository(root: string): string {
    const path = join(root, "origin");
    const run = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.org", "-C", path, ...args], {
        encoding: "utf8",
      });
    execFileSync("git", ["init", "-q", "-b", "main", path]);
    run("add", ".");
    run("commit", "-qm", "one");
    run("tag", "v1");
    return path;
  }

  test("are cloned once and pinned", async () => {
    await using dir = await tempDir("kws-git");
    await files(dir.path, { "origin/sub/kws.yaml": "name: orders\n" });
    const origin = repository(dir.path);
    await files(dir.path, {
      "kws.yaml": `services: { orders: { git: "${origin}", ref: v1, path: sub } }\nstacks: { s: {} }\n`,
    });
    const options = { cache: join(dir.path, "cache"), env: { PATH: process.env["PATH"] } };
    const project = await loadProject(join(dir.path, "kws.yaml"));
    const [first] = await loadServices(project, options);
    expect(first?.name).toBe("orders");
    const again = await checkout(origin, "v1", { ...options, env: { PATH: "/nonexistent" } });
    expect(first?.dir).toBe(join(again, "sub"));
    expect(await checkout(origin, "main", options)).not.toBe(again);
    expect(await failure(() => checkout(origin, "v9", options))).toMatchObject({
      message: /no commit, tag or branch/,
    });
  });

  test.each([
    ["ext::sh -c 'touch /tmp/x'", "v1"],
    ["--upload-pack=touch", "v1"],
    ["https://example.org/x.git", "--output=/tmp/x"],
    ["https://example.org/x.git", "a..b"],
    ["https://example.org/x\n.git", "v1"],
  ])("%j at %j is refused before git runs", async (url, ref) => {
    expect(await failure(() => checkout(url, ref, { cache: "/nonexistent", env: {} }))).toMatchObject({
      code: "config",
    });
  });

  test("that cannot be cloned say what git said, without the password", async () => {
    await using dir = await tempDir("kws-git");
    const url = "http://user:hunter2@127.0.0.1:1/x.git";
    const error = await failure(() =>
      checkout(url, "v1", { cache: dir.path, env: { PATH: process.env["PATH"] } }),
    );
    expect(error.message).toContain("git cannot clone http://127.0.0.1:1/x.git");
    expect(error.message).not.toContain("hunter2");
  });
});

describe("the graph", () => {
  const nodes = [
    { name: "web", dependsOn: ["api"] },
    { name: "api", dependsOn: ["db"] },
    { name: "mail", dependsOn: [] },
    { name: "db", dependsOn: [] },
  ];

  test("gives waves and closures", () => {
    expect(waves(nodes)).toEqual([["mail", "db"], ["api"], ["web"]]);
    expect(closure(nodes, ["api"])).toEqual(["api", "db"]);
  });

  test("refuses a service that depends on itself", () => {
    expect(() => checkGraph([{ name: "a", dependsOn: ["a"] }])).toThrow("a → a");
  });

  test("walks a chain of any length", () => {
    const chain = Array.from({ length: 20_000 }, (_, n) => ({
      name: `s${n}`,
      dependsOn: n === 19_999 ? ["s10000"] : [`s${n + 1}`],
    }));
    expect(() => checkGraph(chain)).toThrow("s10000 → s10001");
  });
});

test("the nearest word allows for swapped letters and refuses far ones", () => {
  expect(nearest("sevrices", ["services", "stacks"])).toBe("services");
  expect(nearest("xyz", ["services", "stacks"])).toBeUndefined();
});

test("KWS_HOME holds everything, XDG folders come next, and relative ones are ignored", () => {
  expect(locations({ KWS_HOME: "/k", XDG_DATA_HOME: "/x" }, "/h").data).toBe("/k/data");
  expect(locations({ XDG_DATA_HOME: "/x", XDG_CACHE_HOME: "rel" }, "/h")).toEqual({
    data: "/x/kws",
    cache: "/h/.cache/kws",
    config: "/h/.config/kws",
  });
});
