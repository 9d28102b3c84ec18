/** A server in the test's own process, on an embedded PostgreSQL in a folder of its own. */
import { hostname } from "node:os";
import { join } from "node:path";
import { createClient, type Client } from "@kws/api/client";
import type { Logger } from "@kws/base/logger";
import { tempDir } from "@kws/base/tempdir";
import { locations } from "@kws/platform/project/locations";
import { type Config, readConfig } from "../config.ts";
import { startEmbedded } from "../database/embedded.ts";
import { type Database, openDatabase } from "../database/open.ts";
import { type Server, startServer } from "../server.ts";

export interface TestServer extends AsyncDisposable {
  url: string;
  client: Client;
  db: Database;
  ctx: Server["ctx"];
}

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

/** `settings` are keys of the configuration. */
export async function testServer(settings: Partial<Config> = {}): Promise<TestServer> {
  await using parts = new AsyncDisposableStack();
  const dir = parts.use(await tempDir("kws-test-server"));
  const env = { ...process.env, KWS_HOME: dir.path };
  const database = await startEmbedded({
    folder: join(dir.path, "postgres"),
    env: process.env,
    uid: process.getuid?.() ?? -1,
    signal: AbortSignal.timeout(60_000),
  });
  parts.defer(() => database.stop());
  const token = "a-token-of-the-tests";
  const server = await startServer({
    config: { ...(await readConfig({})), requestsPerMinute: 100_000, ...settings },
    databaseUrl: database.url,
    alone: true,
    ports: [0],
    token,
    keys: [Buffer.alloc(32, 1)],
    locations: locations(env, dir.path),
    home: dir.path,
    holder: { user: "server", host: hostname(), pid: process.pid },
    env,
    log: quiet,
    now: () => new Date(),
    version: "0.0.0",
    onLost: () => undefined,
  });
  parts.defer(() => server.stop());
  const { db } = parts.use(await openDatabase(database.url, quiet));
  const url = `http://127.0.0.1:${server.port}`;
  const ended = parts.move();
  return {
    url,
    client: createClient({ url, token }),
    db,
    ctx: server.ctx,
    [Symbol.asyncDispose]: () => ended.disposeAsync(),
  };
}
