import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { AuditEntry } from "@kws/api/audit";
import type { Token } from "@kws/api/tokens";
import type { CloudEvent } from "@kws/server/audit/cdevents";
import { testProvider, type TestProvider } from "@kws/server/access/testing/provider";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, expect, test } from "vitest";

let home: TempDir;
let provider: TestProvider;
let url: string;

const main = join(import.meta.dirname, "main.ts");

function kws(args: string[], options: { home?: string; input?: string; env?: NodeJS.ProcessEnv } = {}) {
  const { home: other = home.path, input = "", env } = options;
  const child = spawn(process.execPath, [main, ...args], {
    cwd: home.path,
    env: { PATH: process.env["PATH"], HOME: other, KWS_HOME: other, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  // Some end without reading what they are given.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const code = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { child, code };
}

async function run(args: string[], options: Parameters<typeof kws>[1] = {}) {
  const { child, code } = kws(args, options);
  const [stdout, stderr, exit] = await Promise.all([text(child.stdout), text(child.stderr), code]);
  return { stdout, stderr, exit };
}

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, exit } = await run([...args, "-o", "json"]);
  expect(exit, stderr).toBe(0);
  return JSON.parse(stdout) as T;
}

beforeAll(async () => {
  home = await tempDir("kws-login");
  const someone = { name: "u1", email: "u1@example.com", groups: ["web"] };
  provider = await testProvider({ u1: someone }, "http://127.0.0.1:1/auth/callback");
  const started = await run(["server", "start", "-o", "json"], {
    env: {
      KWS_SERVER_OIDC_ISSUER: provider.issuer,
      KWS_SERVER_OIDC_CLIENT_ID: provider.clientId,
      KWS_SERVER_OIDC_CLIENT_SECRET: provider.clientSecret,
    },
  });
  expect(started.exit, started.stderr).toBe(0);
  ({ url } = JSON.parse(started.stdout) as { url: string });
});
afterAll(async () => {
  await run(["server", "stop"]);
  await provider[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

test("roles are given, a person signs in from a terminal with them, and signs out", async () => {
  expect(await json("whoami")).toMatchObject({ server: url, kind: "local" });
  await json("server", "binding", "add", "developer", "--team", "web", "--service", "web-*");

  await using laptop = await tempDir("kws-laptop");
  const { child, code } = kws(["login", url], { home: laptop.path });
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line);
    const [, address, userCode] = /^(\S+), with the code (\S+)$/.exec(line) ?? [];
    if (address === undefined) continue;
    await provider.browse(`${address}?user_code=${userCode}`, "u1", "");
  }
  expect(await code, said.join("\n")).toBe(0);
  const logins = await readFile(join(laptop.path, "data", "logins.json"), "utf8");
  expect(Object.keys((JSON.parse(logins) as { tokens: object }).tokens)).toEqual([url]);

  const me = await run(["whoami"], { home: laptop.path });
  expect(me.stdout).toBe(`u1, of web at ${url}\n  developer of services web-*\n`);
  const refused = await run(["server", "token", "list"], { home: laptop.path });
  expect(refused.exit, "no admin").toBe(7);
  expect((await run(["logout"], { home: laptop.path })).exit).toBe(0);
  expect((await run(["logout"], { home: laptop.path })).exit, "twice").toBe(5);
  expect((await run(["whoami"], { home: laptop.path })).exit).toBe(5);
});

test("a service token signs in where nobody can be asked, and ends when it is revoked", async () => {
  const made = await json<Token & { token: string }>("server", "token", "create", "ci", "--expires", "1d");
  expect(made).toMatchObject({ role: "viewer", state: "active" });
  await using runner = await tempDir("kws-runner");
  const options = { home: runner.path, input: `${made.token}\n` };
  const { exit, stdout, stderr } = await run(["login", url, "--token", "-"], options);
  expect([exit, stdout], stderr).toEqual([0, `Signed in to ${url} as ci.\n`]);
  expect(await json("server", "token", "list", "--kind", "service")).toMatchObject([{ id: made.id }]);
  await json("server", "token", "revoke", made.id);
  const revoked = await run(["whoami"], { home: runner.path });
  expect([revoked.exit, revoked.stderr]).toEqual([7, expect.stringContaining("the token was revoked")]);
  expect((await run(["login", "http://kws.example.com"], options)).exit, "in the open").toBe(2);
});

test("the audit log is listed, found whole, and exported in both forms", async () => {
  const entries = await json<AuditEntry[]>("server", "audit", "list", "--action", "token.");
  expect(entries.map(({ action }) => action)).toEqual(["token.revoke", "token.create"]);
  const { head } = await json<{ head: string }>("server", "audit", "verify");
  expect(await json("server", "audit", "verify", "--head", head)).toMatchObject({ whole: true });
  const cut = await run(["server", "audit", "verify", "--head", "f".repeat(64)]);
  expect([cut.exit, cut.stdout]).toEqual([1, expect.stringContaining("is missing")]);
  const lines = (await run(["server", "audit", "export"])).stdout.trim().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as AuditEntry).hash).at(-1)).toBe(head);
  const events = (await run(["server", "audit", "export", "--format", "cdevents"])).stdout.trim().split("\n");
  const types = events.map((line) => (JSON.parse(line) as CloudEvent).type);
  expect(types).toEqual(
    expect.arrayContaining(["dev.cdeventsx.kws-binding.add.0.1.0", "dev.cdeventsx.kws-user.signIn.0.1.0"]),
  );
});
