/** Several servers on one database: what one leaves, however it ends, another one finishes. */
import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createClient, type Client } from "@kws/api/client";
import { streamEvents } from "@kws/api/events";
import { addRepository, getRepository } from "@kws/api/repositories";
import { run } from "@kws/base/exec";
import { signalProcess, waitForExit } from "@kws/base/process";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedDatabase, startEmbedded } from "./database/embedded.ts";
import { readLocalToken, serverStatus, startInBackground, stopServer } from "./lifecycle.ts";
import { findRunning, serverFolder } from "./state.ts";

interface Node {
  folder: string;
  api: Client;
  url: string;
}

/** A git repository over HTTP that answers, while it is held, nobody. */
interface Forge {
  url: string;
  held: boolean;
  /** Of clients that wait. */
  waiting: number;
  release(): void;
}

let home: TempDir;
let env: NodeJS.ProcessEnv;
let database: EmbeddedDatabase;
let forge: Forge;
const folders: string[] = [];
const forgeServer = createServer();

async function serve(bare: string): Promise<Forge> {
  let waiters: (() => void)[] = [];
  const answer = async (path: string, response: ServerResponse) => {
    const content = await readFile(join(bare, path)).catch(() => undefined);
    response.writeHead(content === undefined ? 404 : 200).end(content);
  };
  const state: Forge = {
    url: "",
    held: false,
    get waiting() {
      return waiters.length;
    },
    release() {
      state.held = false;
      for (const waiter of waiters) waiter();
      waiters = [];
    },
  };
  forgeServer.on("request", (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://forge");
    if (state.held) waiters.push(() => void answer(pathname, response));
    else void answer(pathname, response);
  });
  forgeServer.listen(0, "127.0.0.1");
  await once(forgeServer, "listening");
  state.url = `http://127.0.0.1:${(forgeServer.address() as AddressInfo).port}/`;
  return state;
}

beforeAll(async () => {
  home = await tempDir("kws-servers");
  const who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
  env = { PATH: process.env["PATH"], HOME: home.path };
  const [source, bare] = [join(home.path, "source"), join(home.path, "bare.git")];
  await run("git", ["init", "--quiet", "--initial-branch=main", source], { env });
  await writeFile(join(source, "kws.yaml"), "name: orders\n");
  await writeFile(join(source, "Dockerfile"), "FROM scratch\n");
  await run("git", ["-C", source, "add", "."], { env });
  await run("git", ["-C", source, ...who, "commit", "--quiet", "-m", "one"], { env });
  await run("git", ["clone", "--quiet", "--bare", source, bare], { env });
  await run("git", ["-C", bare, "update-server-info"], { env });
  forge = await serve(bare);
  database = await startEmbedded({ folder: join(home.path, "pg"), env, uid: process.getuid?.() ?? -1 });
});
afterAll(async () => {
  forge.release();
  for (const folder of new Set(folders)) {
    const running = await findRunning(folder);
    if (running === undefined) continue;
    signalProcess(running.process, "SIGKILL");
    await waitForExit(running.process, 10_000);
  }
  forgeServer.closeAllConnections();
  forgeServer.close();
  await database.stop();
  await home[Symbol.asyncDispose]();
});

/** A server with a home of its own, on the database that all of them share. */
async function node(name: string): Promise<Node> {
  const own = join(home.path, name);
  const folder = serverFolder(join(own, "data"));
  folders.push(folder);
  const given = { KWS_HOME: own, DATABASE_URL: database.url, KWS_SERVER_MAX_STREAMS: "2" };
  const { url = "" } = await startInBackground({ folder, env: { ...env, ...given } });
  const token = (await readLocalToken(folder)) ?? "";
  return { folder, url, api: createClient({ url, token, signal: AbortSignal.timeout(55_000) }) };
}

async function processOf({ folder }: Node) {
  const running = await findRunning(folder);
  if (running === undefined) throw new Error("no server runs");
  return running.process;
}

async function kill(server: Node): Promise<void> {
  const process = await processOf(server);
  signalProcess(process, "SIGKILL");
  if (!(await waitForExit(process, 10_000))) throw new Error("it outlives SIGKILL");
}

async function clientsWait(count: number): Promise<void> {
  while (forge.waiting < count) await pause(20);
}

async function outcome({ api }: Node, name: string): Promise<string> {
  for (;;) {
    const { state, problem = state } = await api.call(getRepository, { params: { name } });
    if (state !== "syncing") return problem;
    await pause(50);
  }
}

/** All that were told of it, until it was synced. */
async function eventsOf({ api }: Node, subject: string): Promise<string[]> {
  const kinds: string[] = [];
  const ended = new AbortController();
  for await (const { item } of api.stream(streamEvents, {
    after: "0",
    query: { subject },
    signal: ended.signal,
  })) {
    kinds.push(item.kind);
    if (item.kind === "repository.synced") break;
  }
  ended.abort();
  return kinds;
}

test("servers that start at the same time on an empty database all start", async () => {
  const all = await Promise.all(["one", "two", "three"].map((name) => node(name)));
  expect(new Set(all.map(({ url }) => url)).size).toBe(3);
  await Promise.all(all.slice(1).map(({ folder }) => stopServer(folder)));
});

test("a server that stands still loses its work to another one, and ends when it goes on", async () => {
  const one = await node("one");
  forge.held = true;
  const { id } = await one.api.call(addRepository, { body: { name: "still", url: forge.url } });
  await clientsWait(1);
  const two = await node("two");
  const stopped = await processOf(one);
  signalProcess(stopped, "SIGSTOP");
  await clientsWait(2);
  forge.release();
  expect(await outcome(two, "still")).toBe("synced");
  expect(await eventsOf(two, id)).toEqual(["repository.added", "repository.synced"]);
  signalProcess(stopped, "SIGCONT");
  expect(await waitForExit(stopped, 20_000)).toBe(true);
  expect(await readFile(join(one.folder, "server.log"), "utf8")).toContain("another server has taken over");
  expect(await eventsOf(two, id)).toEqual(["repository.added", "repository.synced"]);
});

test("more streams than are allowed are refused, and one that was cut off goes on where it was", async () => {
  const four = await node("four");
  const token = (await readLocalToken(four.folder)) ?? "";
  const open = (after: string) =>
    fetch(four.url + streamEvents.path, {
      headers: { authorization: `Bearer ${token}`, "last-event-id": after },
      signal: AbortSignal.timeout(30_000),
    });
  const [first, second] = [await open("0"), await open("0")];
  const third = await open("0");
  expect([third.status, third.headers.get("retry-after")]).toEqual([429, "5"]);
  await Promise.all([first.body?.cancel(), second.body?.cancel(), third.body?.cancel()]);

  const seen: string[] = [];
  const ended = new AbortController();
  // Of two repositories: added and synced.
  const wanted = 4;
  for await (const { id = "" } of four.api.stream(streamEvents, { after: "0", signal: ended.signal })) {
    seen.push(id);
    // On its old port again.
    if (seen.length === 2) {
      await kill(four);
      await node("four");
      await four.api.call(addRepository, { body: { name: "later", url: forge.url } });
    }
    if (seen.length === wanted) break;
  }
  ended.abort();
  expect(seen).toEqual(seen.toSorted((a, b) => Number(a) - Number(b)));
  expect(new Set(seen).size).toBe(wanted);
  expect((await serverStatus(four.folder)).state).toBe("running");
});
