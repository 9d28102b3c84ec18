import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { run } from "@kws/base/exec";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { checkout, type GitOptions } from "./git.ts";
import { loadServices, openServices } from "./services.ts";
import { loadProject } from "./workspace.ts";

const env = { PATH: process.env["PATH"], HOME: "/nonexistent" };
let dir: TempDir;
let origin: string;
let options: GitOptions;
let cloned: string[];
beforeEach(async () => {
  dir = await tempDir("kws-git");
  origin = join(dir.path, "origin");
  cloned = [];
  options = {
    cache: join(dir.path, "cache"),
    env,
    onClone(url, clone) {
      cloned.push(url);
      return clone();
    },
  };
  await git("init", "--quiet", "--initial-branch=main");
  await commit("orders/kws.yaml", "name: orders\n");
  await git("tag", "--annotate", "--message=one", "v1");
  await commit("web/kws.yaml", "name: web\n");
});
afterEach(() => dir[Symbol.asyncDispose]());

async function git(...args: string[]): Promise<string> {
  await mkdir(origin, { recursive: true });
  const who = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always"];
  return (await run("git", ["-C", origin, ...who, ...args], { env })).stdout.trim();
}

async function commit(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(origin, path)), { recursive: true });
  await writeFile(join(origin, path), text);
  await git("add", "--all");
  await git("commit", "--quiet", "--message", path);
}

async function commits(clone: string): Promise<number> {
  return Number((await run("git", ["-C", clone, "rev-list", "--count", "HEAD"], { env })).stdout);
}

async function workspace(yaml: string) {
  await mkdir(join(dir.path, "shop"), { recursive: true });
  await writeFile(join(dir.path, "shop/kws.yaml"), yaml);
  return loadProject(join(dir.path, "shop/kws.yaml"));
}

test("a pin is the pinned commit alone, and has its history where that is asked for", async () => {
  expect(await commits(await checkout(origin, "main", options))).toBe(1);
  const whole = await checkout(origin, "main", { ...options, history: true });
  expect(await commits(whole)).toBe(2);
  expect((await run("git", ["-C", whole, "describe"], { env })).stdout).toMatch(/^v1-1-g/);
});

test.each(["tag", "branch", "commit", "short commit"])("a pin may be a %s", async (kind) => {
  const id = await git("rev-parse", "v1^{commit}");
  await git("branch", "release/1", "v1");
  const refs: Record<string, string> = { tag: "v1", branch: "release/1", commit: id };
  const clone = await checkout(origin, refs[kind] ?? id.slice(0, 9), options);
  expect((await run("git", ["-C", clone, "rev-parse", "HEAD"], { env })).stdout.trim()).toBe(id);
  expect(existsSync(join(clone, "web"))).toBe(false);
});

test("a repository is cloned once for all services that are pinned to the same ref of it", async () => {
  const project = await workspace(
    "services:\n  orders: { git: ../origin, ref: main, path: orders }\n  web: { git: ../origin, ref: main, path: web }\nstacks: {}\n",
  );
  const services = await loadServices(project, options);
  expect(services.map(({ name }) => name)).toEqual(["orders", "web"]);
  expect(cloned).toEqual([origin]);
});

test("a refresh clones again only where the pin has moved", async () => {
  const refresh = { ...options, refresh: true };
  const before = await checkout(origin, "main", refresh);
  await checkout(origin, "main", refresh);
  await checkout(origin, "v1", options);
  await checkout(origin, "v1", refresh);
  expect(cloned).toHaveLength(2);
  await commit("new", "");
  expect(existsSync(join(before, "new"))).toBe(false);
  expect(await checkout(origin, "main", refresh)).toBe(before);
  expect(existsSync(join(before, "new"))).toBe(true);
});

test("a clone that is killed is not taken for one, and what it left goes away with the next", async () => {
  const pidFile = join(dir.path, "pid");
  const bin = join(dir.path, "bin");
  await mkdir(bin);
  const slow = `#!/bin/sh\ncase "$*" in *fetch*) echo $$ >${pidFile}; exec sleep 60;; esac\nPATH=${env.PATH} exec git "$@"\n`;
  await writeFile(join(bin, "git"), slow, { mode: 0o755 });
  const module = JSON.stringify(new URL("git.ts", import.meta.url).href);
  const given = JSON.stringify({ cache: options.cache, env: { ...env, PATH: `${bin}:${env.PATH}` } });
  const script = `const { checkout } = await import(${module}); await checkout(${JSON.stringify(origin)}, "main", ${given});`;
  const killed = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: "ignore" });
  const pid = await vi.waitFor(async () => {
    const text = await readFile(pidFile, "utf8");
    expect(text).toMatch(/^\d+\n$/);
    return Number(text);
  }, 20_000);
  const ended = once(killed, "exit");
  killed.kill("SIGKILL");
  process.kill(pid, "SIGKILL");
  await ended;
  const folder = join(options.cache, "git");
  expect(await readdir(folder)).toEqual(["work"]);
  expect(await readdir(join(folder, "work"))).toHaveLength(1);
  expect(await commits(await checkout(origin, "main", options))).toBe(1);
  expect(await readdir(join(folder, "work"))).toEqual([]);
});

test("several at once make one checkout", async () => {
  const made = await Promise.all([1, 2, 3].map(() => checkout(origin, "main", options)));
  expect(new Set(made).size).toBe(1);
  expect(existsSync(join(made[0] ?? "", "web/kws.yaml"))).toBe(true);
});

test("no hook of a repository or of a template runs, and submodules from this machine are refused", async () => {
  const trap = join(dir.path, "trap");
  const templates = join(dir.path, "templates/hooks");
  await mkdir(templates, { recursive: true });
  await writeFile(join(templates, "post-checkout"), `#!/bin/sh\ntouch ${trap}\n`);
  await chmod(join(templates, "post-checkout"), 0o755);
  await checkout(origin, "v1", { ...options, env: { ...env, GIT_TEMPLATE_DIR: dirname(templates) } });
  expect(existsSync(trap)).toBe(false);
  await git("submodule", "--quiet", "add", origin, "inner");
  await git("commit", "--quiet", "--message=submodule");
  await expect(checkout(origin, "main", options)).rejects.toThrow(/submodules of .*'file' not allowed/s);
  const allowed = {
    GIT_CONFIG_COUNT: "1",
    GIT_CONFIG_KEY_0: "protocol.file.allow",
    GIT_CONFIG_VALUE_0: "always",
  };
  const clone = await checkout(origin, "main", { ...options, env: { ...env, ...allowed } });
  expect(existsSync(join(clone, "inner/orders/kws.yaml"))).toBe(true);
});

test("a service's file that is a symlink out of its repository is not read", async () => {
  await writeFile(join(dir.path, "secret"), "name: bad\n");
  await mkdir(join(origin, "bad"));
  await symlink(join(dir.path, "secret"), join(origin, "bad/kws.yaml"));
  await git("add", "--all");
  await git("commit", "--quiet", "--message=bad");
  const project = await workspace("services: { bad: { git: ../origin, ref: main, path: bad } }\n");
  await expect(loadServices(project, options)).rejects.toThrow(/leads out of/);
});

test("nothing is cloned for services that nobody asks for", async () => {
  const project = await workspace(
    "services:\n  gone: { git: 'https://127.0.0.1:1/gone.git', ref: v1 }\n  orders: { git: ../origin, ref: v1, path: orders }\n",
  );
  const services = openServices(project, options);
  expect(await services.names()).toEqual(["gone", "orders"]);
  expect((await services.find(["orders"])).map(({ name }) => name)).toEqual(["orders"]);
  expect(cloned).toEqual([origin]);
});
