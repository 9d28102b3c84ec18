import { permissions, type Role, roles } from "@kws/api/access";
import type { Route } from "@kws/api/route";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OpenDatabase } from "../database/open.ts";
import { endpoints } from "../endpoints.ts";
import type { Endpoint } from "../http/handlers.ts";
import { testPostgres, type TestPostgres } from "../testing/database.ts";
import { type TestApp, testApp } from "./testing/app.ts";
import { issueToken } from "./tokens.ts";

let postgres: TestPostgres;
let database: OpenDatabase;
let server: TestApp;
let asked = 0;
const callers = new Map<string, string>();

/** Answers for every route, so that what is asked is who may call it; one with a scope is about the service `web`. */
const answering = endpoints.map(({ route }): Endpoint => {
  const { params: _params, query: _query, body: _body, stream: _stream, ...bare } = route;
  return {
    route: { ...bare, response: {}, status: 200 },
    handle: ({ authorise }) => {
      if (route.scoped === true) authorise({ service: "web" });
      return Promise.resolve({});
    },
  };
});

beforeAll(async () => {
  postgres = await testPostgres();
  database = await postgres.open();
  server = await testApp(database.db, {}, answering);
  const now = server.ctx.now();
  const after = (ms: number) => new Date(now.getTime() + ms);
  for (const [subject, disabled] of [
    ["active", false],
    ["disabled", true],
  ] as const) {
    const values = { subject, name: subject, teams: ["t1"], disabled, created_at: now, signed_in_at: now };
    await database.db.insertInto("users").values(values).execute();
    const binding = { id: crypto.randomUUID(), subject_kind: "user", role: "admin", scope: "{}" } as const;
    const bound = { ...binding, subject_name: subject, created_at: now };
    await database.db.insertInto("bindings").values(bound).execute();
  }
  const issue = async (caller: string, values: Partial<Parameters<typeof issueToken>[1]>) => {
    const usual = { kind: "service", name: caller, created_at: now, expires_at: after(60_000) } as const;
    await database.db.transaction().execute(async (trx) => {
      const { text } = await issueToken(trx, { ...usual, role: "admin", scope: "{}", ...values });
      callers.set(caller, text);
    });
  };
  callers.set("administrator", server.token);
  for (const role of roles) {
    await issue(role, { role });
    await issue(`${role} of web`, { role, scope: '{"services":["web"]}' });
    await issue(`${role} of orders`, { role, scope: '{"services":["orders"]}' });
  }
  await issue("person", { kind: "login", owner: "active", role: null, scope: null });
  await issue("expired", { expires_at: after(-1) });
  await issue("revoked", { revoked_at: now });
  await issue("of the disabled", { owner: "disabled" });
  await issue("disabled", { kind: "session", owner: "disabled", role: null, scope: null });
  callers.set("wrong secret", `${(callers.get("admin") ?? "").slice(0, -4)}AAAA`);
  callers.set("unknown", "another-token-of-some-length");
});
afterAll(async () => {
  await server.app.close();
  await database[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const nobodies = ["nobody", "expired", "revoked", "of the disabled", "disabled", "wrong secret", "unknown"];

/** What a caller with this role gets; `where` is what the role is for. */
function expectedFor({ permission, scoped }: Route, role: Role, where: "all" | "web" | "orders"): number {
  if (permission === "public" || permission === "self") return 200;
  if (roles.indexOf(role) < roles.indexOf(permissions[permission])) return 403;
  if (where === "all") return 200;
  return scoped === true && where === "web" ? 200 : 403;
}

test.each(answering.map(({ route }) => [`${route.method} ${route.path}`, route] as const))(
  "%s is for those who have its permission alone",
  async (_name, route) => {
    const status = async (caller: string) => {
      const token = callers.get(caller);
      const { statusCode } = await server.app.inject({
        method: route.method,
        url: route.path.replaceAll(/:\w+/g, "x"),
        // Failures are counted by address.
        remoteAddress: `127.0.${Math.floor(asked / 200)}.${(asked++ % 200) + 1}`,
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      });
      return statusCode;
    };
    for (const caller of nobodies)
      expect(await status(caller), caller).toBe(route.permission === "public" ? 200 : 401);
    for (const caller of ["administrator", "person"]) expect(await status(caller), caller).toBe(200);
    for (const role of roles) {
      expect(await status(role), role).toBe(expectedFor(route, role, "all"));
      for (const where of ["web", "orders"] as const)
        expect(await status(`${role} of ${where}`), `${role} of ${where}`).toBe(
          expectedFor(route, role, where),
        );
    }
  },
);
