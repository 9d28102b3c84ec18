/** The product under measurement: the built command line with a home of its own, and its API over real TLS. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const bin = fileURLToPath(new URL("../packages/cli/bin/kws.js", import.meta.url));
export const repository = fileURLToPath(new URL("..", import.meta.url));

export interface Product extends AsyncDisposable {
  home: string;
  kws(...args: string[]): Promise<string>;
}

export async function product(): Promise<Product> {
  const home = await mkdtemp(join(tmpdir(), "kws-bench-"));
  const env = { ...process.env, HOME: home, KWS_HOME: join(home, "kws"), NO_COLOR: "1" };
  const kws = (...args: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      execFile(
        process.execPath,
        [bin, ...args],
        { env, cwd: repository, maxBuffer: 1e8 },
        (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(`kws ${args.join(" ")}: ${stderr || error.message}`, { cause: error }));
        },
      );
    });
  return {
    home,
    kws,
    async [Symbol.asyncDispose]() {
      await kws("cluster", "reset", "--yes").catch(() => "");
      await rm(home, { recursive: true, force: true });
    },
  };
}

export interface Api {
  /** Rejects unless the answer is 2xx. */
  call(method: string, path: string, body?: unknown): Promise<Buffer>;
  /** Calls back for every event of a watch until it answers true. */
  watch(path: string, done: (event: { type: string; object: KubeObject }) => boolean): Promise<void>;
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
  const open = (method: string, path: string, body?: unknown) => {
    const headers = { accept: "application/json", "content-type": "application/json" };
    const outgoing = request(new URL(path, cluster.server), { method, agent, headers });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    return outgoing;
  };
  return {
    call: (method, path, body) =>
      new Promise((resolve, reject) => {
        open(method, path, body)
          .on("error", reject)
          .on("response", (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("end", () => {
              const text = Buffer.concat(chunks);
              if (response.statusCode! < 300) resolve(text);
              else reject(new Error(`${method} ${path}: ${response.statusCode} ${text.toString()}`));
            });
          });
      }),
    watch: (path, done) =>
      new Promise((resolve, reject) => {
        const outgoing = open("GET", path);
        outgoing.on("error", reject).on("response", (response) => {
          let rest = "";
          response.setEncoding("utf8").on("data", (chunk: string) => {
            rest += chunk;
            const lines = rest.split("\n");
            rest = lines.pop() ?? "";
            for (const line of lines) {
              if (line !== "" && done(JSON.parse(line) as { type: string; object: KubeObject })) {
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
