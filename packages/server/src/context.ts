/** What handlers and workflows are given of the server. */
import type { Logger } from "@kws/base/logger";
import type { Oidc } from "./access/oidc.ts";
import type { Locations } from "@kws/platform/project/locations";
import type { Holder } from "@kws/platform/services/lease";
import type { Config } from "./config.ts";
import type { Database } from "./database/open.ts";
import type { Feed } from "./events/feed.ts";
import type { Metrics } from "./http/metrics.ts";
import type { Workflows } from "./workflows/engine.ts";

export interface ServerContext {
  config: Config;
  db: Database;
  log: Logger;
  /** Where people sign in; undefined where none is configured. */
  oidc: Oidc | undefined;
  feed: Feed;
  workflows: Workflows;
  metrics: Metrics;
  /** What secrets in the database are sealed with, the newest first. */
  keys: readonly Uint8Array[];
  /** For files that can be made again, such as clones. */
  cache: string;
  /** Where this machine keeps the rest. */
  locations: Locations;
  home: string;
  /** Who works on clusters. */
  holder: Holder;
  /** For the programs that are started. */
  env: NodeJS.ProcessEnv;
  now: () => Date;
  /** Aborts when the server ends. A step that then throws is done again by the next server. */
  signal: AbortSignal;
}
