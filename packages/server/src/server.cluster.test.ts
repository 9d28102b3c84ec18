import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "@kws/api/client";
import { getMe } from "@kws/api/me";
import { streamEvents } from "@kws/api/events";
import {
  addRepository,
  getRepository,
  listRepositories,
  removeRepository,
  syncRepository,
} from "@kws/api/repositories";
import { run } from "@kws/base/exec";
import { signalProcess, waitForExit } from "@kws/base/process";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { join } from "node:path";
import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readLocalToken, serverStatus, startInBackground, stopServer } from "./lifecycle.ts";
import { findRunning, serverFolder } from "./state.ts";

let home: TempDir;
let folder: string;
let env: NodeJS.ProcessEnv;
let source: string;

beforeAll(async () => {
  home = await tempDir("kws-server");
  folder = serverFolder(join(home.path, "data"));
  const identity = { GIT_AUTHOR_NAME: "a", GIT_AUTHOR_EMAIL: "a@example.com" };
  const committer = { GIT_COMMITTER_NAME: "a", GIT_COMMITTER_EMAIL: "a@example.com" };
  env = { PATH: process.env["PATH"], HOME: home.path, KWS_HOME: home.path, ...identity, ...committer };
  source = join(home.path, "source");
  await run("git", ["init", "--quiet", "--initial-branch=main", source], { env });
  await writeFile(join(source, "kws.yaml"), "name: orders\n");
  await writeFile(join(source, "Dockerfile"), "FROM scratch\n");
  await run("git", ["-C", source, "add", "."], { env });
  await run("git", ["-C", source, "commit", "--quiet", "-m", "one"], { env });
  await startInBackground({ folder, env });
});
afterAll(async () => {
  await stopServer(folder);
  await home[Symbol.asyncDispose]();
});

async function client() {
  const { url = "" } = await serverStatus(folder);
  return createClient({
    url,
    token: (await readLocalToken(folder)) ?? "",
    signal: AbortSignal.timeout(50_000),
  });
}

async function kill(): Promise<void> {
  const running = await findRunning(folder);
  if (running === undefined) throw new Error("no server runs");
  signalProcess(running.process, "SIGKILL");
  expect(await waitForExit(running.process, 10_000)).toBe(true);
}

async function synced(name: string) {
  const api = await client();
  for (;;) {
    const repository = await api.call(getRepository, { params: { name } });
    if (repository.state !== "syncing") return repository;
    await pause(50);
  }
}

test("a second start answers with the server that runs", async () => {
  const before = await serverStatus(folder);
  expect(before.state).toBe("running");
  expect(await startInBackground({ folder, env })).toMatchObject({ pid: before.pid, url: before.url });
});

test("who calls is asked for, what comes in is checked, and failures are of the table", async () => {
  const { url = "" } = await serverStatus(folder);
  expect(await (await client()).call(getMe)).toMatchObject({ name: "local", kind: "local" });
  const stranger = createClient({ url, token: "another" });
  await expect(stranger.call(getMe)).rejects.toMatchObject({ reason: "unauthenticated", code: "permission" });
  const api = await client();
  const bad = api.call(addRepository, { body: { name: "Not a name", url: source } });
  await expect(bad).rejects.toMatchObject({ reason: "usage", at: "body.name" });
  const hostile = api.call(addRepository, { body: { name: "x", url: "ext::sh -c true" } });
  await expect(hostile).rejects.toMatchObject({ reason: "config" });
  const none = api.call(getRepository, { params: { name: "none" } });
  await expect(none).rejects.toMatchObject({ reason: "not-found" });
  const [ready, unknown] = await Promise.all([fetch(`${url}/readyz`), fetch(`${url}/api/v1/none`)]);
  expect([ready.status, unknown.status]).toEqual([200, 404]);
  const description = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: object };
  expect(Object.keys(description.paths)).toContain("/api/v1/repositories/{name}");
});

test("a repository is fetched, its services are found, and events tell of it", async () => {
  const api = await client();
  const ended = new AbortController();
  const events = api.stream(streamEvents, {
    after: "0",
    query: { kind: "repository." },
    signal: ended.signal,
  });
  const { id } = await api.call(addRepository, { body: { name: "orders", url: source } });
  const kinds: string[] = [];
  for await (const { item } of events) {
    expect(item.subject).toBe(id);
    kinds.push(item.kind);
    if (item.kind === "repository.synced") break;
  }
  ended.abort();
  expect(kinds).toEqual(["repository.added", "repository.synced"]);
  expect(await synced("orders")).toMatchObject({ services: [{ name: "orders", path: "." }] });
  const again = api.call(addRepository, { body: { name: "orders", url: source } });
  await expect(again).rejects.toMatchObject({ reason: "conflict" });
});

test("a server that was killed is the same after its next start, on the database that outlived it", async () => {
  const api = await client();
  const before = await serverStatus(folder);
  await api.call(addRepository, { body: { name: "killed", url: source } });
  await kill();
  const after = await startInBackground({ folder, env });
  expect(after.url).toBe(before.url);
  expect(after.pid).not.toBe(before.pid);
  // Begun before the kill, ended after it.
  expect(await synced("killed")).toMatchObject({ state: "synced" });
  const page = await (await client()).call(listRepositories, { query: { limit: 1 } });
  expect(page).toMatchObject({ items: [{ name: "killed" }] });
  const rest = await (await client()).call(listRepositories, { query: { limit: 1, cursor: page.next } });
  expect(rest).toMatchObject({ items: [{ name: "orders" }] });
  expect(rest.next).toBeUndefined();
});

test("a database that was killed is started again, and the server goes on with it", async () => {
  const { url = "" } = await serverStatus(folder);
  const file = join(folder, "postgres", "data", "postmaster.pid");
  const postmaster = async () => Number((await readFile(file, "utf8").catch(() => "")).split("\n")[0]);
  const before = await postmaster();
  process.kill(before, "SIGKILL");
  while ([before, 0].includes(await postmaster()) || (await fetch(`${url}/readyz`)).status !== 200)
    await pause(50);
  const api = await client();
  await api.call(syncRepository, { params: { name: "orders" } });
  expect(await synced("orders")).toMatchObject({ state: "synced" });
});

test("what failed says why, and what is removed is gone", async () => {
  const api = await client();
  await api.call(addRepository, { body: { name: "missing", url: join(home.path, "nowhere") } });
  const failed = await synced("missing");
  expect(failed).toMatchObject({ state: "failed", services: [] });
  expect(failed.problem).toContain("nowhere");
  await api.call(removeRepository, { params: { name: "missing" } });
  await expect(api.call(getRepository, { params: { name: "missing" } })).rejects.toMatchObject({
    code: "not-found",
  });
});

test("a stop ends the database, too, and the next start has all that was there", async () => {
  expect(await stopServer(folder)).toBe(true);
  expect(await stopServer(folder), "there is nothing left to stop").toBe(false);
  await startInBackground({ folder, env });
  const found = await Array.fromAsync((await client()).all(listRepositories));
  expect(found.map(({ name }) => name)).toEqual(["killed", "orders"]);
});
