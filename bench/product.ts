/** The product under measurement: the built command line with a home of its own, and its API over real TLS. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { parse } from "yaml";

const bin = fileURLToPath(new URL("../packages/cli/bin/kws.js", import.meta.url));
const bundle = fileURLToPath(new URL("../packages/cli/dist/kws.js", import.meta.url));
const repository = fileURLToPath(new URL("..", import.meta.url));

export interface Commands {
  kws(...args: string[]): Promise<string>;
  /** Starts a command that goes on until it is ended. */
  spawn(...args: string[]): ChildProcess;
}

export interface Product extends Commands, AsyncDisposable {
  /** Of nobody else: no file of the user's is read or changed. */
  home: string;
  /** The same, run in another folder than the repository. */
  in(folder: string): Commands;
}

/** What stands at the moment, for whoever interrupts. */
const standing = new Set<Product>();

/** Resets every cluster that a benchmark started and removes its files. */
export async function disposeAll(): Promise<void> {
  await Promise.all(Array.from(standing, (one) => one[Symbol.asyncDispose]()));
}

export async function product(): Promise<Product> {
  if (!existsSync(bundle)) throw new Error("kws is not built: run `npm run build` first");
  const home = await mkdtemp(join(tmpdir(), "kws-bench-"));
  // npm's cache is where `npm ci` put what the demo installs.
  const npmCache = process.env["npm_config_cache"] ?? join(homedir(), ".npm");
  const env = {
    ...process.env,
    npm_config_cache: npmCache,
    HOME: home,
    KWS_HOME: join(home, "kws"),
    NO_COLOR: "1",
  };
  const commands = (cwd: string): Commands => ({
    kws: (...args) =>
      new Promise((resolve, reject) => {
        execFile(process.execPath, [bin, ...args], { env, cwd, maxBuffer: 1e8 }, (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(`kws ${args.join(" ")}: ${stderr || error.message}`, { cause: error }));
        });
      }),
    spawn: (...args) =>
      spawn(process.execPath, [bin, ...args], { env, cwd, stdio: ["ignore", "ignore", "inherit"] }),
  });
  let disposed: Promise<void> | undefined;
  const result: Product = {
    home,
    ...commands(repository),
    in: commands,
    [Symbol.asyncDispose]: () =>
      (disposed ??= (async () => {
        await result.kws("cluster", "reset", "--yes");
        await rm(home, { recursive: true, force: true });
        standing.delete(result);
      })()),
  };
  standing.add(result);
  return result;
}

export interface Api {
  /** Rejects unless the answer is 2xx. Answers what came over the wire, decompressed. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Buffer>;
  /** Calls back for every event of a watch until it answers true. */
  watch(path: string, done: (event: { type: string; object: KubeObject }) => boolean): Promise<void>;
  /** PEM of the server's authority. */
  ca: Buffer;
  close(): void;
}

interface KubeObject {
  metadata: { name: string };
  // oxlint-disable-next-line typescript/no-explicit-any
  [field: string]: any;
}

interface Kubeconfig {
  clusters: { cluster: { server: string; "certificate-authority-data": string } }[];
  users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
}

export async function connect(kubeconfigPath: string): Promise<Api> {
  const config = parse(await readFile(kubeconfigPath, "utf8")) as Kubeconfig;
  const { cluster } = config.clusters[0]!;
  const { user } = config.users[0]!;
  const decode = (text: string): Buffer => Buffer.from(text, "base64");
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 64,
    ca: decode(cluster["certificate-authority-data"]),
    cert: decode(user["client-certificate-data"]),
    key: decode(user["client-key-data"]),
  });
  const open = (method: string, path: string, body?: unknown, more: Record<string, string> = {}) => {
    const headers = { accept: "application/json", "content-type": "application/json", ...more };
    const outgoing = request(new URL(path, cluster.server), { method, agent, headers });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    return outgoing;
  };
  return {
    ca: decode(cluster["certificate-authority-data"]),
    call: (method, path, body, headers) =>
      new Promise((resolve, reject) => {
        open(method, path, body, headers)
          .on("error", reject)
          .on("response", (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("end", () => {
              const wire = Buffer.concat(chunks);
              const text = response.headers["content-encoding"] === "gzip" ? gunzipSync(wire) : wire;
              if (response.statusCode! < 300) resolve(text);
              else reject(new Error(`${method} ${path}: ${response.statusCode} ${text.toString()}`));
            });
          });
      }),
    watch: (path, done) =>
      new Promise((resolve, reject) => {
        const outgoing = open("GET", path);
        const timer = setTimeout(() => {
          outgoing.destroy();
          reject(new Error(`${path}: what was watched for did not happen in 60 s`));
        }, 60_000);
        outgoing.on("error", reject).on("response", (response) => {
          let rest = "";
          response.on("error", reject);
          response.setEncoding("utf8").on("data", (chunk: string) => {
            rest += chunk;
            const lines = rest.split("\n");
            rest = lines.pop() ?? "";
            for (const line of lines) {
              if (line !== "" && done(JSON.parse(line) as { type: string; object: KubeObject })) {
                clearTimeout(timer);
                response.destroy();
                resolve();
                return;
              }
            }
          });
        });
      }),
    close: () => agent.destroy(),
  };
}
