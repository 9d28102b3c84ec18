/** `kws service up`: a service developed on a running cluster, and given back whatever happens. */
import { type ChildProcess, execFile } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { deployments, leases, pods } from "@kws/kube/resources";
import type { KubeClient } from "@kws/kube/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Kws, newKws } from "./kws.ts";

let kws: Kws;
let temporary: string;
/** The workspace's. */
let folder: string;
let client: KubeClient;
let port: number;
const source = () => join(folder, "web/server.js");

beforeAll(async () => {
  kws = await newKws();
  temporary = await mkdtemp(join(tmpdir(), "kws-dev-"));
  folder = join(temporary, "shop");
  await mkdir(join(folder, "web"), { recursive: true });
  await writeFile(
    join(folder, "web/package.json"),
    '{ "name": "web", "type": "module", "main": "server.js" }\n',
  );
  await write("built");
  await cp(join(folder, "web"), join(folder, "api"), { recursive: true });
  for (const args of [
    ["init", "--yes"],
    ["stack", "start"],
  ]) {
    const { code, stderr } = await kws.run(args, { cwd: folder });
    expect(code, stderr).toBe(0);
  }
  client = await kws.client();
  port = (await kws.cluster()).ingressPort;
});
afterAll(async () => {
  await kws[Symbol.asyncDispose]();
  await rm(temporary, { recursive: true, force: true });
});

const program = (word: string) =>
  `import { createServer } from "node:http";\n` +
  `createServer((_, answer) => answer.end("${word}")).listen(8080);\n`;

function write(word: string): Promise<void> {
  return writeFile(source(), program(word));
}

/** As editors save: a new file in the place of the old one. */
async function saveAtomically(word: string): Promise<void> {
  await writeFile(`${source()}.tmp`, program(word));
  await rename(`${source()}.tmp`, source());
}

function answer(): Promise<string> {
  return new Promise((resolve) => {
    // A pod that ends takes requests with it.
    const signal = AbortSignal.timeout(2000);
    get({ port, host: "127.0.0.1", signal, headers: { host: "web.shop.localhost" } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text));
    }).on("error", (error) => resolve(error.message));
  });
}

/** Asks until it is so; the test's own timeout says when it is too late. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 50));
}

const answers = (word: string) => until(async () => (await answer()) === word);
const workload = async (name = "web") => {
  const { items } = await client.list(deployments);
  const found = items.find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error("there is no Deployment");
  return found;
};
const mark = async (name?: string) => (await workload(name)).metadata.annotations?.["kws.dev/dev"];
const up = (...more: string[]): ChildProcess => kws.spawn(["service", "up", "web", ...more], folder);
const run = (...args: string[]) => kws.run(args, { cwd: folder });

test("what is saved is what the service answers, until Ctrl-C gives back what it was", async () => {
  const before = await workload();
  const session = up();
  await write("one");
  await answers("one");
  await saveAtomically("two");
  await answers("two");
  const [pod] = (await client.list(pods, undefined, { labelSelector: "kws.dev/dev=web" })).items;

  await writeFile(source(), "this is no program(");
  await until(async () => (await run("service", "logs", "web")).stdout.includes("a change starts it again"));
  await write("three");
  await answers("three");
  const [later] = (await client.list(pods, undefined, { labelSelector: "kws.dev/dev=web" })).items;
  expect(later?.metadata.uid).toBe(pod?.metadata.uid);
  expect(later?.["status"].containerStatuses[0].restartCount).toBe(0);

  const second = await run("service", "up", "web");
  expect(second.code).toBe(9);
  expect(second.stderr).toMatch(/@\S+ \(process \d+\) develops web since .*--take-over/s);
  const restart = await run("service", "restart", "web");
  expect(restart.code).toBe(9);
  const start = await run("stack", "start");
  expect(start.code, start.stderr).toBe(0);
  expect(start.stderr).toContain("in development mode");
  expect(JSON.parse((await run("service", "status", "web", "-o", "json")).stdout)).toHaveProperty("dev.by");

  session.kill("SIGINT");
  const [code] = (await once(session, "exit")) as [number];
  expect(code).toBe(130);
  await answers("built");
  const after = await workload();
  expect(after["spec"]).toEqual(before["spec"]);
  const owners = ({ metadata }: typeof after) =>
    metadata.managedFields
      ?.filter(({ subresource }) => subresource === undefined)
      .map(({ manager, operation, fieldsV1 }) => ({ manager, operation, fieldsV1 }));
  expect(owners(after)).toEqual(owners(before));
});

test("a debugger holds each start at its first line, stops at breakpoints, and comes back after a change", async () => {
  const path = join(folder, ".vscode/launch.json");
  const session = up("--debug-brk");
  await until(async () => (await readFile(path, "utf8").catch(() => "")) !== "");
  const { configurations } = JSON.parse(await readFile(path, "utf8")) as {
    configurations: { port: number; remoteRoot: string }[];
  };
  const { port: debugPort = 0, remoteRoot = "" } = configurations[0] ?? {};
  for (const word of ["six", "seven"]) {
    await write(word);
    let stops: Stop[] = [];
    await until(async () => {
      stops = await stopsAt(debugPort, `file://${remoteRoot}/server.js`, word);
      return stops.length === 2;
    });
    expect(stops.map(({ reason }) => reason)).toEqual(["Break on start", "other"]);
    expect(stops.map(({ callFrames }) => callFrames[0]?.location.lineNumber)).toEqual([0, 1]);
    expect(stops[1]?.hitBreakpoints).toHaveLength(1);
  }
  session.kill("SIGINT");
  await once(session, "exit");
});

interface Stop {
  reason: string;
  hitBreakpoints?: string[];
  callFrames: { location: { lineNumber: number } }[];
}

/**
 * Attaches to the process that runs, with a breakpoint where it answers, and asks it: where it stopped, at its beginning and at
 * the breakpoint; less for a process that has ended because another took its place.
 */
async function stopsAt(debugPort: number, url: string, word: string): Promise<Stop[]> {
  const found = await fetch(`http://127.0.0.1:${debugPort}/json/list`).catch(() => undefined);
  const targets = (await found?.json().catch(() => undefined)) as
    | { webSocketDebuggerUrl: string }[]
    | undefined;
  const [target] = targets ?? [];
  if (target === undefined) return [];
  const stops: Stop[] = [];
  return new Promise((resolve) => {
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    let id = 0;
    const send = (method: string, params = {}) => socket.send(JSON.stringify({ id: ++id, method, params }));
    socket.addEventListener("error", () => resolve(stops));
    socket.addEventListener("close", () => resolve(stops));
    socket.addEventListener("open", () => {
      send("Debugger.enable");
      send("Debugger.setBreakpointByUrl", { url, lineNumber: 1, columnNumber: 28 });
      send("Runtime.runIfWaitingForDebugger");
    });
    socket.addEventListener("message", ({ data }) => {
      const { method, params } = JSON.parse(String(data)) as { method?: string; params?: Stop };
      if (method !== "Debugger.paused" || params === undefined) return;
      stops.push(params);
      send("Debugger.resume");
      if (stops.length === 1) void answers(word);
      else socket.close();
    });
  });
}

test("a session that is killed leaves the dev container; anybody is told, and can go on or give it back", async () => {
  const killed = up();
  await write("four");
  await answers("four");
  killed.kill("SIGKILL");
  await once(killed, "exit");
  const status = await run("service", "status", "web");
  expect(status.stdout).toMatch(/left without giving it back.*kws service down web/s);
  const restart = await run("service", "restart", "web");
  expect(restart.stderr).toContain("kws service down web");

  const next = up();
  await write("five");
  await answers("five");
  const lease = await client.list(leases);
  expect(lease.items.map(({ metadata }) => metadata.name)).toContain("kws-dev-web");
  // The terminal is closed: the kernel says so, and the shell.
  next.kill("SIGHUP");
  next.kill("SIGHUP");
  await once(next, "exit");
  expect(await mark()).toBeUndefined();

  const again = up();
  await until(async () => (await mark()) !== undefined);
  again.kill("SIGKILL");
  await once(again, "exit");
  const down = await run("service", "down", "web");
  expect(down.code, down.stderr).toBe(0);
  expect(await mark()).toBeUndefined();
  expect(await answer()).toBe("built");
  expect((await run("service", "down", "web")).stdout).toContain("is not in development mode");
});

test("an intercept is told to whoever looks or intercepts too, and ends from anywhere", async () => {
  const intercept = (...more: string[]) => ["service", "intercept", "web", "--port", "13001", ...more];
  const session = kws.spawn(intercept("--header", "A=1", "--header", "B=2"), folder);
  const status = () => run("service", "status", "web", "-o", "json");
  await until(async () => "intercept" in (JSON.parse((await status()).stdout) as object));
  expect((await run("service", "status", "web")).stdout).toMatch(/is intercepted: \S+@\S+ \(process \d+\)/);
  const second = await run(...intercept());
  expect(second.code).toBe(9);
  expect(second.stderr).toMatch(/@\S+ \(process \d+\) intercepts web since .*--take-over/s);
  const restart = await run("service", "restart", "web");
  expect(restart.code, restart.stderr).toBe(0);
  expect(restart.stderr).toContain("web is intercepted");
  const ended = once(session, "exit");
  const down = await run("service", "down", "web");
  expect(down.stdout).toContain("web gets its requests again: its intercept is ended");
  expect((await ended)[0]).toBe(9);
  expect(JSON.parse((await status()).stdout)).not.toHaveProperty("intercept");
});

test("the board of several services is left and taken again, and gives them back with q and with its terminal", async () => {
  const tmux = async (...args: string[]) => {
    const own = ["-u", "-S", join(temporary, "tmux"), "-f", "/dev/null", ...args];
    return (await promisify(execFile)("tmux", own)).stdout;
  };
  const type = (...keys: string[]) => tmux("send-keys", "-t", "t", ...keys);
  const shows = (pattern: RegExp) =>
    until(async () => pattern.test(await tmux("capture-pane", "-p", "-t", "t")));
  const program = join(temporary, "up.sh");
  await writeFile(program, `exec ${kws.shellWords} service up web api\n`);
  const begin = () => type(`sh '${program}'`, "Enter");
  const shell = "bash --noprofile --norc -i";
  await tmux("new-session", "-d", "-s", "t", "-x", "100", "-y", "20", "-c", folder, shell);
  try {
    await type("PS1='prompt-$? '; clear", "Enter");
    await begin();
    await shows(/› web +ready[^]*api +ready/);
    await tmux("resize-window", "-t", "t", "-x", "60", "-y", "12");
    await shows(/^ {2}SERVICE[^]*\n↑↓ select/);
    await type("o");
    await shows(/http:\/\/web\.shop\.localhost/);
    await type("C-z");
    await shows(/kws is suspended, and web, api stay[^]*Stopped/);
    expect((await run("service", "up", "api")).stderr).toContain("develops api since");
    await write("while it is away");
    await type("fg", "Enter");
    await shows(/› web +ready/);
    await answers("while it is away");
    await type("q");
    await shows(/prompt-130/);
    expect([await mark("web"), await mark("api")]).toEqual([undefined, undefined]);

    await type("clear", "Enter");
    await begin();
    await shows(/› web +ready[^]*api +ready/);
  } finally {
    await tmux("kill-server");
  }
  await until(async () => (await mark("web")) === undefined && (await mark("api")) === undefined);
  const { items } = await client.list(leases);
  expect(items.filter(({ metadata }) => metadata.name.startsWith("kws-dev-"))).toEqual([]);
});

test("on a cluster that does not see the folder, files are copied into the container and back", async () => {
  const { kubeconfigPath } = await kws.cluster();
  const contexts = await kws.run(["service", "list", "--kubeconfig", kubeconfigPath, "--context", "nobody"]);
  expect(contexts.code).not.toBe(0);
  const [, context = ""] = /Use one of: ([^,. ]+)/.exec(contexts.stderr) ?? [];
  await writeFile(
    join(folder, "web/kws.yaml"),
    "name: web\nbuild: { builder: node }\ndev: { workdir: /app, command: [node, server.js] }\n",
  );
  await writeFile(
    join(folder, "kws.yaml"),
    `name: shop\nservices: [./web]\ncluster: { allowContexts: [${context}] }\n`,
  );
  const session = up("--kubeconfig", kubeconfigPath, "--context", context);
  await write("copied");
  await answers("copied");
  await saveAtomically("copied again");
  await answers("copied again");
  session.kill("SIGINT");
  await once(session, "exit");
  await answers("built");
});
