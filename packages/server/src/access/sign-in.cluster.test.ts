import type { IncomingHttpHeaders } from "node:http";
import { addBinding } from "@kws/api/bindings";
import { getMe, type Me } from "@kws/api/me";
import type { Route } from "@kws/api/route";
import { beginDeviceSignIn, type DeviceSignIn, pollDeviceSignIn, signOut } from "@kws/api/sign-in";
import { createToken, listTokens, revokeToken } from "@kws/api/tokens";
import { changeUser } from "@kws/api/users";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OpenDatabase } from "../database/open.ts";
import { testPostgres, type TestPostgres } from "../testing/database.ts";
import { readCookie } from "./cookies.ts";
import { type TestApp, testApp } from "./testing/app.ts";
import { type TestProvider, testProvider } from "./testing/provider.ts";

const origin = "http://kws.example.com";
const redirectUri = `${origin}/auth/callback`;
const person = (name: string, ...groups: string[]) => ({ name, email: `${name}@example.com`, groups });

let postgres: TestPostgres;
let database: OpenDatabase;
let provider: TestProvider;
let server: TestApp;

beforeAll(async () => {
  postgres = await testPostgres();
  database = await postgres.open();
  const people = { u1: person("u1", "web"), u2: person("u2"), u3: person("u3"), boss: person("boss", "ops") };
  provider = await testProvider(people, redirectUri);
  server = await testApp(database.db, {
    KWS_SERVER_PUBLIC_URL: origin,
    KWS_SERVER_OIDC_ISSUER: provider.issuer,
    KWS_SERVER_OIDC_CLIENT_ID: provider.clientId,
    KWS_SERVER_OIDC_CLIENT_SECRET: provider.clientSecret,
    KWS_SERVER_ADMIN_TEAMS: "ops, others",
  });
});
afterAll(async () => {
  await server.app.close();
  await provider[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

interface Given {
  params?: Record<string, string>;
  body?: object;
  token?: string;
  headers?: IncomingHttpHeaders;
}

async function call(route: Route, { params = {}, body, token, headers = {} }: Given = {}) {
  const answer = await server.app.inject({
    method: route.method,
    url: route.path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? "")),
    headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(body === undefined ? {} : { payload: body }),
  });
  return { status: answer.statusCode, json: () => answer.json<never>() };
}

/** What a browser keeps of an answer. */
function cookies(answer: { headers: { "set-cookie"?: string | string[] | undefined } }): string {
  return [answer.headers["set-cookie"] ?? []]
    .flat()
    .map((cookie) => cookie.split(";")[0])
    .join("; ");
}

async function signInWithBrowser(account: string) {
  const begun = await server.app.inject({ url: "/auth/login?return_to=/services?name=web" });
  expect(begun.statusCode, begun.body).toBe(302);
  const cookie = cookies(begun);
  const callback = await provider.browse(begun.headers.location ?? "", account, redirectUri);
  return { cookie, callback, visit: () => visit(callback, cookie) };
}

const visit = (callback: URL, cookie: string) =>
  server.app.inject({ url: `${callback.pathname}${callback.search}`, headers: { cookie } });

async function session(account: string): Promise<string> {
  const { visit } = await signInWithBrowser(account);
  const done = await visit();
  expect(done.statusCode, done.body).toBe(302);
  return `kws-session=${readCookie(cookies(done), "kws-session")}`;
}

async function signInWithDevice(account: string): Promise<string> {
  const { status, json } = await call(beginDeviceSignIn);
  expect(status).toBe(201);
  const { handle, verificationUriComplete = "", intervalSeconds }: DeviceSignIn = json();
  await provider.browse(verificationUriComplete, account, "");
  server.pass(intervalSeconds * 1000);
  const { state, token } = (await call(pollDeviceSignIn, { body: { handle } })).json() as {
    state: string;
    token: string;
  };
  expect(state).toBe("done");
  return token;
}

test("somebody signs in with a browser, may do what their team may, and signs out", async () => {
  const { visit } = await signInWithBrowser("u1");
  const done = await visit();
  expect([done.statusCode, done.headers.location]).toEqual([302, "/services?name=web"]);
  expect([done.headers["set-cookie"]].flat()[1]).toMatch(/HttpOnly; SameSite=Lax; Max-Age=43200$/);
  expect((await visit()).statusCode, "a sign-in ends once").toBe(403);

  const cookie = `kws-session=${readCookie(cookies(done), "kws-session")}`;
  const token = server.token;
  const binding = {
    subject: { kind: "team", name: "web" },
    role: "developer",
    scope: { services: ["web-*"] },
  };
  expect((await call(addBinding, { token, body: binding })).status).toBe(201);
  expect((await call(addBinding, { token, body: binding })).status, "the same again").toBe(409);
  const me: Me = (await call(getMe, { headers: { cookie } })).json();
  expect(me).toEqual({
    kind: "user",
    id: "u1",
    name: "u1",
    teams: ["web"],
    grants: [{ role: "developer", scope: { services: ["web-*"] } }],
    expiresAt: expect.any(String),
  });

  const out = (headers: IncomingHttpHeaders) =>
    server.app.inject({ method: "POST", url: "/auth/logout", headers });
  expect((await out({ cookie })).statusCode, "from nowhere").toBe(403);
  expect((await out({ cookie, origin: "https://evil.example.com" })).statusCode).toBe(403);
  expect((await out({ cookie, origin })).statusCode).toBe(204);
  expect((await call(getMe, { headers: { cookie } })).status).toBe(401);
});

test("what is begun in one browser cannot be ended in another", async () => {
  const mine = await signInWithBrowser("u1");
  const theirs = await signInWithBrowser("u2");
  expect((await visit(theirs.callback, mine.cookie)).statusCode, "signed in as somebody else").toBe(403);
  expect((await visit(mine.callback, "")).statusCode, "a browser that began nothing").toBe(403);
  expect((await visit(theirs.callback, "kws-sign-in=kws_made_up")).statusCode).toBe(403);
});

test.each([
  ["//evil.example.com"],
  ["/\\evil.example.com"],
  ["https://evil.example.com/"],
  ["evil"],
  ["/%0d%0aset-cookie:a=b\r\n"],
  [""],
])("a browser is not sent to %j", async (address) => {
  const query = { return_to: address };
  expect((await server.app.inject({ url: "/auth/login", query })).statusCode).toBe(400);
});

test("another site cannot use somebody's session", async () => {
  const cookie = await session("boss");
  const body = { subject: { kind: "user", name: "u2" }, role: "viewer", scope: {} };
  const from = (origin?: string) =>
    call(addBinding, { body, headers: { cookie, ...(origin === undefined ? {} : { origin }) } });
  expect((await from()).status).toBe(403);
  expect((await from("null")).status).toBe(403);
  expect((await from("http://kws.example.com.evil.example.com")).status).toBe(403);
  expect((await from(origin)).status).toBe(201);
});

test("a device signs in, asks as often as it may, and once more than it may gets nothing", async () => {
  const {
    handle,
    verificationUriComplete = "",
    intervalSeconds,
  }: DeviceSignIn = (await call(beginDeviceSignIn)).json();
  const poll = async () => (await call(pollDeviceSignIn, { body: { handle } })).json() as { state: string };
  expect(await poll(), "at once").toEqual({ state: "slow-down" });
  server.pass(intervalSeconds * 1000);
  expect(await poll(), "before five seconds more").toEqual({ state: "slow-down" });
  server.pass((intervalSeconds + 10) * 1000);
  expect(await poll()).toEqual({ state: "pending" });
  await provider.browse(verificationUriComplete, "u1", "");
  server.pass((intervalSeconds + 10) * 1000);
  const done = (await poll()) as { state: string; token: string };
  expect(done.state).toBe("done");
  expect(((await call(getMe, { token: done.token })).json() as Me).name).toBe("u1");
  expect((await call(pollDeviceSignIn, { body: { handle } })).status, "once").toBe(403);
  const other = { body: { handle: `${handle.slice(0, -4)}AAAA` } };
  expect((await call(pollDeviceSignIn, other)).status).toBe(403);
  expect((await call(signOut, { token: done.token })).status).toBe(200);
  expect((await call(getMe, { token: done.token })).status).toBe(401);
});

test("a token has no more than its maker, ends with them, and is revoked and expires by itself", async () => {
  const token = await signInWithDevice("boss");
  const make = async (role: string, expiresInDays: number, by = token) => {
    const made = await call(createToken, { token: by, body: { name: "ci", role, scope: {}, expiresInDays } });
    return made.json() as { id: string; token: string };
  };
  const [kept, revoked, short] = [await make("admin", 30), await make("admin", 30), await make("admin", 1)];
  const status = async ({ token }: { token: string }) => (await call(listTokens, { token })).status;
  expect(await status(kept)).toBe(200);
  const list = (await call(listTokens, { token })).json() as { items: object[] };
  expect(JSON.stringify(list)).not.toContain(kept.token);

  await call(revokeToken, { token, params: { id: revoked.id } });
  expect(await status(revoked)).toBe(401);
  server.pass(2 * 86_400_000);
  expect(await status(short)).toBe(401);

  const minted = { name: "x", role: "viewer", scope: {}, expiresInDays: 300 };
  expect((await call(createToken, { token: kept.token, body: minted })).status, "by a token").toBe(403);

  await database.db.updateTable("users").set({ teams: [] }).where("subject", "=", "boss").execute();
  expect(await status(kept), "its maker is no admin any more").toBe(403);
  const disable = { token: server.token, params: { subject: "boss" }, body: { disabled: true } };
  expect((await call(changeUser, disable)).status).toBe(200);
  expect(await status(kept), "its maker is disabled").toBe(401);
});

test("who is disabled cannot sign in", async () => {
  await session("u3");
  const disable = { token: server.token, params: { subject: "u3" }, body: { disabled: true } };
  expect((await call(changeUser, disable)).status).toBe(200);
  const { visit } = await signInWithBrowser("u3");
  expect((await visit()).statusCode).toBe(403);
});

test("many wrong tokens from one address are refused for a while, and right ones never", async () => {
  const wrong = () => call(getMe, { token: "a-token-of-nobody" });
  const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await wrong()).status));
  expect(new Set(statuses)).toEqual(new Set([401, 429]));
  expect((await call(getMe, { token: server.token })).status).toBe(200);
  server.pass(60_000);
  expect((await wrong()).status).toBe(401);
});

test("one address cannot begin without end, and others still can", async () => {
  const begin = (remoteAddress: string) => server.app.inject({ url: "/auth/login", remoteAddress });
  const answers = await Promise.all(Array.from({ length: 50 }, () => begin("192.0.2.1")));
  expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([302]));
  expect((await begin("192.0.2.1")).statusCode).toBe(429);
  expect((await begin("192.0.2.2")).statusCode).toBe(302);
  server.pass(11 * 60_000);
  expect((await begin("192.0.2.1")).statusCode).toBe(302);
});

test("no token, code or secret is in the database or the audit log", async () => {
  const token = await signInWithDevice("u2");
  const [tables, audit] = await Promise.all([
    database.db.selectFrom("tokens").selectAll().execute(),
    database.db.selectFrom("audit").selectAll().execute(),
  ]);
  const secret = token.slice("kws_".length + 13);
  expect(JSON.stringify([tables, audit])).not.toContain(secret);
  expect(audit.map(({ action }) => action)).toEqual(
    expect.arrayContaining(["user.sign-in", "user.sign-out", "binding.add", "token.create", "user.disable"]),
  );
});
