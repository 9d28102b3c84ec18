/**
 * The process of a server: reads environment and clock, starts the database where none is given, runs the server, says on its fourth
 * file descriptor that it is ready or why not, and ends on SIGTERM.
 */
import { createWriteStream, fstatSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { join } from "node:path";
import { replaceFile } from "@kws/base/atomicfile";
import type { StartMessage } from "@kws/base/detached";
import { messageOf, UserError } from "@kws/base/errors";
import { makeFolder } from "@kws/base/folder";
import { withLock } from "@kws/base/lock";
import type { Logger } from "@kws/base/logger";
import { identify } from "@kws/base/process";
import { locations } from "@kws/platform/project/locations";
import { localToken } from "./access/local-token.ts";
import { type Config, readConfig } from "./config.ts";
import { type EmbeddedDatabase, startEmbedded } from "./database/embedded.ts";
import { createServerLogger } from "./log.ts";
import { type Server, type ServerOptions, startServer } from "./server.ts";
import {
  findRunning,
  keyFile,
  readState,
  serverFolder,
  type ServerState,
  stateFile,
  tokenFile,
} from "./state.ts";
import { serverKeys } from "./webhooks/key.ts";
import { version } from "./version.ts";

/** Running steps get 10 s, and the database writes a checkpoint; Kubernetes kills after 30 s. */
const stopMs = 25_000;

const messages = openMessages();
const stopping = new AbortController();
let log: Logger = createServerLogger("info");
let server: Server | undefined;
let database: EmbeddedDatabase | undefined;
let watching: Promise<void> | undefined;

async function main(): Promise<void> {
  const config = await readConfig(process.env);
  log = createServerLogger(config.logLevel);
  const home = process.env["HOME"] ?? homedir();
  const places = locations(process.env, home);
  const folder = serverFolder(places.data);
  await makeFolder(folder, { mode: 0o700, fix: "Set KWS_HOME to a folder that can be written." });
  // Two starts at the same time end in one server.
  await withLock(
    join(folder, "start.lock"),
    () => start(config, folder, { home, locations: places }),
    120_000,
  );
  if (server !== undefined && !stopping.signal.aborted) say({ type: "ready" });
}

async function start(
  config: Config,
  folder: string,
  world: Pick<ServerOptions, "home" | "locations">,
): Promise<void> {
  const running = await findRunning(folder);
  if (running !== undefined) {
    throw new UserError(`a server runs at ${running.url} already`, { code: "conflict" });
  }
  const previous = await readState(folder).catch(() => undefined);
  if (config.databaseUrl === undefined) {
    database = await startEmbedded({
      folder: join(folder, "postgres"),
      env: process.env,
      uid: process.getuid?.() ?? -1,
      signal: stopping.signal,
    });
    if (database.adopted) log.info("the database of the server before runs on");
    watching = database.watch(stopping.signal, log);
  }
  const keys = await serverKeys(config, keyFile(folder));
  const token = config.token ?? (await localToken(tokenFile(folder)));
  server = await startServer({
    config,
    databaseUrl: database?.url ?? config.databaseUrl ?? "",
    alone: database !== undefined,
    ports:
      config.port === undefined ? [...(previous === undefined ? [] : [previous.port]), 0] : [config.port],
    token,
    keys,
    ...world,
    holder: { user: "server", host: hostname(), pid: process.pid },
    env: process.env,
    log,
    now: () => new Date(),
    version,
    onLost() {
      log.error("another server has taken over, since this one was not seen for a while");
      process.exit(1);
    },
  });
  const identity = identify(process.pid);
  if (identity === undefined) throw new Error("/proc does not know this process");
  const state: ServerState = {
    process: identity,
    url: `http://${config.host}:${server.port}`,
    port: server.port,
    startedAt: new Date().toISOString(),
    version,
  };
  await replaceFile(stateFile(folder), `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  log.info("ready", { url: state.url });
}

async function stop(code: number): Promise<void> {
  if (stopping.signal.aborted) return;
  stopping.abort();
  // What is to survive is in the database, and somebody waits for the end.
  setTimeout(() => {
    log.error("the end took too long");
    process.exit(1);
  }, stopMs).unref();
  try {
    await server?.stop();
    await watching;
    await database?.stop();
  } catch (error) {
    log.error("the end was not clean", { error: messageOf(error) });
  }
  process.exit(code);
}

/** The fourth file descriptor, where whoever started this process made it a pipe. */
function openMessages(): ReturnType<typeof createWriteStream> | undefined {
  try {
    if (!fstatSync(3).isFIFO() && !fstatSync(3).isSocket()) return undefined;
  } catch {
    return undefined;
  }
  const stream = createWriteStream("", { fd: 3 });
  // Whoever started the server may be gone by the time that it is ready.
  stream.on("error", () => log.warn("nobody is listening for this server to be ready"));
  return stream;
}

function say(message: StartMessage): void {
  messages?.end(`${JSON.stringify(message)}\n`);
}

process.on("SIGTERM", () => void stop(0));
process.on("SIGINT", () => void stop(0));
process.on("SIGHUP", () => {});
process.on("uncaughtException", (error) => {
  log.error("uncaught exception", { error: error.stack });
  // What is to survive is in the database: the next start goes on where this one ended.
  process.exit(70);
});
process.on("unhandledRejection", (error) => {
  log.error("unhandled rejection", { error: error instanceof Error ? error.stack : String(error) });
});

try {
  await main();
} catch (error) {
  const { code, fix } = error instanceof UserError ? error : {};
  const stack = error instanceof UserError ? {} : { stack: error instanceof Error ? error.stack : undefined };
  log.error(`could not start: ${messageOf(error)}`, { fix, ...stack });
  say({ type: "failed", message: messageOf(error), code, fix });
  await stop(1);
}
