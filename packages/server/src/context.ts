/** What handlers and workflows are given of the server. */
import type { Logger } from "@kws/base/logger";
import type { Oidc } from "./access/oidc.ts";
import type { Config } from "./config.ts";
import type { Database } from "./database/open.ts";
import type { Feed } from "./events/feed.ts";
import type { Workflows } from "./workflows/engine.ts";

export interface ServerContext {
  config: Config;
  db: Database;
  log: Logger;
  /** Where people sign in; undefined where none is configured. */
  oidc: Oidc | undefined;
  feed: Feed;
  workflows: Workflows;
  /** For files that can be made again, such as clones. */
  cache: string;
  /** For the programs that are started. */
  env: NodeJS.ProcessEnv;
  now: () => Date;
  /** Aborts when the server ends. A step that then throws is done again by the next server. */
  signal: AbortSignal;
}
