import { once } from "node:events";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { UserError } from "@kws/base/errors";
import { exec, run } from "@kws/base/exec";
import { tempDir } from "@kws/base/tempdir";
import { expect, onTestFinished, test } from "vitest";
import { git } from "./git.ts";
import { installHook, readPush, tell } from "./hook.ts";

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const env = {
  ...process.env,
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "mira",
  GIT_AUTHOR_EMAIL: "mira@example.com",
  GIT_COMMITTER_NAME: "mira",
  GIT_COMMITTER_EMAIL: "mira@example.com",
};

/** What the command of the hook does, as a program of its own. */
const sender = `
import { text } from "node:stream/consumers";
const { readPush, readTarget, tell } = await import(${JSON.stringify(pathToFileURL(join(import.meta.dirname, "hook.ts")).href)});
const target = await readTarget(process.argv.at(-1));
const push = readPush(target, "mira", await text(process.stdin));
await tell(target, push, { id: "msg_1", now: Date.now(), timeoutMs: 30_000 });
`;

interface Setup extends AsyncDisposable {
  bare: string;
  clone: string;
  command: string[];
}

async function setup(): Promise<Setup> {
  const dir = await tempDir("hook");
  const [bare, clone] = [join(dir.path, "it's bare.git"), join(dir.path, "clone")];
  await run("git", ["init", "--quiet", "--bare", "--initial-branch=main", bare], { env });
  await run("git", ["clone", "--quiet", bare, clone], { env });
  await run("git", ["-C", clone, "commit", "--quiet", "--allow-empty", "-m", "one"], { env });
  const program = join(dir.path, "sender.mjs");
  await writeFile(program, sender);
  return {
    bare,
    clone,
    command: [process.execPath, program],
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

async function serve(
  status: number,
): Promise<{ port: number; got: { body: Buffer; request: IncomingMessage }[] }> {
  const got: { body: Buffer; request: IncomingMessage }[] = [];
  const server = createServer((request, response) => {
    const take = async () => {
      got.push({ body: await buffer(request), request });
      response.writeHead(status).end();
    };
    void take();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return { port: (server.address() as AddressInfo).port, got };
}

const targetAt = (port: number, bare: string) => ({
  endpoint: `http://127.0.0.1:${port}/hooks/1`,
  secret,
  repository: { name: "acme/shop", url: bare },
});

test("a push to a repository with the hook arrives, signed, as an event", { timeout: 60_000 }, async () => {
  await using repository = await setup();
  const { bare, clone, command } = repository;
  const { port, got } = await serve(202);
  const { hook, config } = await installHook(bare, targetAt(port, bare), command, env);
  expect((await stat(config)).mode & 0o777).toBe(0o600);
  expect(await readFile(hook, "utf8")).not.toContain(secret);

  await run("git", ["-C", clone, "push", "--quiet", "origin", "HEAD:main"], { env });
  const commit = (await run("git", ["-C", clone, "rev-parse", "HEAD"], { env })).stdout.trim();
  const [delivery] = got;
  expect(got).toHaveLength(1);
  const { body, request } = delivery!;
  expect(git.verify(body, request.headers, [secret], Date.now())).toBe("msg_1");
  expect(git.parse(body, request.headers)).toEqual([
    { type: "push", repository: { name: "acme/shop", url: bare }, author: "mira", branch: "main", commit },
  ]);
});

test("a push that cannot be told of succeeds, and says so", { timeout: 60_000 }, async () => {
  await using repository = await setup();
  const { bare, clone, command } = repository;
  const { port } = await serve(500);
  await installHook(bare, targetAt(port, bare), command, env);
  const pushed = await exec("git", ["-C", clone, "push", "--quiet", "origin", "HEAD:main"], { env });
  expect(pushed.exitCode).toBe(0);
  expect(pushed.stderr).toContain("kws was not told of this push");
});

test("a server that is not there is no fault of kws", async () => {
  const target = targetAt(1, "/srv/shop.git");
  const push = readPush(target, "mira", "");
  const told = tell(target, push, { id: "msg_1", now: 0, timeoutMs: 30_000 });
  await expect(told).rejects.toThrow(UserError);
  await expect(told).rejects.toThrow("127.0.0.1:1 cannot be told");
});

test("installing again is well, and a hook of somebody else stays", async () => {
  await using repository = await setup();
  const { bare, command } = repository;
  const target = targetAt(1, bare);
  await installHook(bare, target, command, env);
  const { hook } = await installHook(bare, target, command, env);
  await mkdir(join(bare, "hooks"), { recursive: true });
  await writeFile(hook, "#!/bin/sh\nexit 0\n");
  await expect(installHook(bare, target, command, env)).rejects.toThrow("is a hook already");
  expect(await readFile(hook, "utf8")).toBe("#!/bin/sh\nexit 0\n");
});
