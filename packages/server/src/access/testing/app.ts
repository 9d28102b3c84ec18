/** The server's HTTP half over a database of a test, with a clock that the test turns. */
import type { FastifyInstance } from "fastify";
import { readConfig } from "../../config.ts";
import type { ServerContext } from "../../context.ts";
import type { Database } from "../../database/open.ts";
import { endpoints as allEndpoints } from "../../endpoints.ts";
import { createApp } from "../../http/app.ts";
import type { Endpoint } from "../../http/handlers.ts";
import { createServerLogger } from "../../log.ts";
import { authentication } from "../authenticate.ts";
import { oidcSettings, openOidc } from "../oidc.ts";

export interface TestApp {
  app: FastifyInstance;
  ctx: ServerContext;
  /** The administrator's. */
  token: string;
  /** Turns the clock on. */
  pass(ms: number): void;
}

export async function testApp(
  db: Database,
  env: Record<string, string> = {},
  endpoints: readonly Endpoint[] = allEndpoints,
): Promise<TestApp> {
  const config = await readConfig({ KWS_SERVER_REQUESTS_PER_MINUTE: "100000", ...env });
  const settings = oidcSettings(config);
  const token = "the-administrator's-token-of-this-test";
  let at = Date.now();
  const ctx: ServerContext = {
    config,
    db,
    log: createServerLogger("error"),
    oidc: settings === undefined ? undefined : openOidc(settings),
    feed: { read: () => Promise.reject(new Error("no events here")) } as never,
    workflows: { start: () => Promise.resolve(), wake: () => undefined, result: () => Promise.resolve() },
    cache: "/nowhere",
    env: {},
    now: () => new Date(at),
    signal: new AbortController().signal,
  };
  const app = await createApp({
    ctx,
    endpoints,
    authenticate: authentication(ctx, token),
    version: "0",
    ready: () => Promise.resolve(),
  });
  return { app, ctx, token, pass: (ms) => void (at += ms) };
}
