import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { AuditEntry } from "@kws/api/audit";
import type { Token } from "@kws/api/tokens";
import type { CloudEvent } from "@kws/server/audit/cdevents";
import { testProvider, type TestProvider } from "@kws/server/access/testing/provider";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runProgram } from "./program.ts";

let home: TempDir;
let provider: TestProvider;
let url: string;

interface RunOptions {
  home?: string;
  input?: string;
  env?: NodeJS.ProcessEnv;
  /** Told what is written to standard error, as it is. */
  onError?: (text: string) => void;
}

async function run(args: string[], options: RunOptions = {}) {
  const { home: own = home.path, input = "", env, onError } = options;
  const written = { stdout: "", stderr: "" };
  const exit = await runProgram(args, {
    stdin: Readable.from([Buffer.from(input)]) as NodeJS.ReadStream,
    stdout: { write: (text) => (written.stdout += text) },
    stderr: {
      write(text) {
        written.stderr += text;
        onError?.(String(text));
      },
    },
    env: { PATH: process.env["PATH"], KWS_HOME: own, CI: "1", ...env },
    cwd: own,
    home: own,
    version: "0.0.0",
    nodePath: process.execPath,
    program: "",
    signal: AbortSignal.timeout(55_000),
    foreground: (program) => program(),
    now: () => performance.now(),
    clock: () => Date.now(),
    holder: { user: "someone", host: "here", pid: process.pid },
  });
  return { ...written, exit };
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
  const shown = Promise.withResolvers<{ address: string; userCode: string }>();
  const login = run(["login", url], {
    home: laptop.path,
    onError(text) {
      const [, address, userCode] = /^(\S+), with the code (\S+)$/m.exec(text) ?? [];
      if (address !== undefined && userCode !== undefined) shown.resolve({ address, userCode });
    },
  });
  const failed = login.then(({ stderr }): never => {
    throw new Error(`it ended before somebody agreed: ${stderr}`);
  });
  const { address, userCode } = await Promise.race([shown.promise, failed]);
  await provider.browse(`${address}?user_code=${userCode}`, "u1", "");
  expect(await login).toMatchObject({ exit: 0, stdout: `Signed in to ${url} as u1.\n` });
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
