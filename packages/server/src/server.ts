/** One server: joins database, live events, workflows and HTTP, and ends them in the order in which they need each other. */
import type { Logger } from "@kws/base/logger";
import { authentication } from "./access/authenticate.ts";
import { oidcSettings, openOidc } from "./access/oidc.ts";
import type { Locations } from "@kws/platform/project/locations";
import type { Holder } from "@kws/platform/services/lease";
import type { Config } from "./config.ts";
import type { ServerContext } from "./context.ts";
import { openDatabase } from "./database/open.ts";
import { endpoints, workflows } from "./endpoints.ts";
import { openFeed } from "./events/feed.ts";
import { createApp } from "./http/app.ts";
import { createMetrics } from "./http/metrics.ts";
import { beginPruning } from "./webhooks/prune.ts";
import { createEngine } from "./workflows/engine.ts";

export interface ServerOptions {
  config: Config;
  databaseUrl: string;
  /** The database is this server's own. */
  alone: boolean;
  /** The ports to try, in this order. */
  ports: number[];
  token: string;
  /** What secrets in the database are sealed with, the newest first. */
  keys: readonly Uint8Array[];
  locations: Locations;
  home: string;
  holder: Holder;
  env: NodeJS.ProcessEnv;
  log: Logger;
  now: () => Date;
  version: string;
  /** Another server has taken over what this one does: end the process. */
  onLost: () => void;
}

export interface Server {
  port: number;
  ctx: ServerContext;
  /** Answers what was asked, ends streams, waits for running steps, and leaves the rest to the next server. */
  stop(): Promise<void>;
}

/** Of running steps, when the server ends. */
const drainMs = 10_000;

export async function startServer(options: ServerOptions): Promise<Server> {
  const { config, databaseUrl, log, token, version, alone, onLost } = options;
  await using opened = new AsyncDisposableStack();
  const ending = new AbortController();
  const database = opened.use(await openDatabase(databaseUrl, log));
  const feed = opened.use(await openFeed(database.db, databaseUrl, log));
  const engine = createEngine({ db: database.db, pool: database.pool, url: databaseUrl, log, alone, onLost });
  const settings = oidcSettings(config);
  const { locations, home, holder, env, keys, now } = options;
  const ctx: ServerContext = {
    config,
    db: database.db,
    log,
    oidc: settings === undefined ? undefined : openOidc(settings),
    feed,
    workflows: engine,
    metrics: createMetrics(),
    keys,
    cache: locations.cache,
    locations,
    home,
    holder,
    env,
    now,
    signal: ending.signal,
  };
  await engine.launch(ctx, workflows);
  opened.defer(() => engine.shutdown(drainMs));
  await beginPruning(ctx);
  const app = await createApp({
    ctx,
    endpoints,
    authenticate: authentication(ctx, token),
    version,
    ready: async () => {
      await database.pool.query("SELECT 1");
    },
  });
  opened.defer(() => app.close());
  const port = await listen(app, config.host, options.ports);
  const parts = opened.move();
  return {
    port,
    ctx,
    async stop() {
      ending.abort();
      await parts.disposeAsync();
    },
  };
}

async function listen(
  app: Awaited<ReturnType<typeof createApp>>,
  host: string,
  ports: number[],
): Promise<number> {
  for (const [index, port] of ports.entries()) {
    try {
      await app.listen({ host, port });
      break;
    } catch (error) {
      if (index === ports.length - 1) throw error;
    }
  }
  const address = app.server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}
