/** `kws` as a person runs it, with an empty home of its own, and the Kubernetes API that it starts. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KubeClient } from "@kws/kube/client";
import { connect } from "@kws/kube/kubeconfig";

export const repository = fileURLToPath(new URL("..", import.meta.url));
const bin = join(repository, "packages/cli/bin/kws.js");

/** What reaches the packages that `npm ci` has fetched already; the rest of this machine's settings stay out. */
const inherited = {
  PATH: process.env["PATH"],
  NODE_EXTRA_CA_CERTS: process.env["NODE_EXTRA_CA_CERTS"],
  npm_config_cache: process.env["npm_config_cache"] ?? join(homedir(), ".npm"),
};

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

export interface ClusterStatus {
  name: string;
  state: string;
  apiUrl: string;
  ingressPort: number;
  kubeconfigPath: string;
  pid: number;
}

export interface Kws extends AsyncDisposable {
  home: string;
  /** Runs a command to its end, whatever its exit code. */
  run(args: string[], options?: { cwd?: string; signal?: AbortSignal }): Promise<Result>;
  /** Runs a command that must succeed, and parses what it prints with `-o json`. */
  json<T>(...args: string[]): Promise<T>;
  cluster(name?: string): Promise<ClusterStatus>;
  client(name?: string): Promise<KubeClient>;
}

/** Disposing it resets the clusters that were started under it. */
export async function newKws(): Promise<Kws> {
  const home = await mkdtemp(join(tmpdir(), "kws-e2e-"));
  const run: Kws["run"] = (args, options = {}) =>
    new Promise((resolve, reject) => {
      const env = { ...inherited, HOME: home, TERM: "dumb" };
      const settings = { env, cwd: repository, maxBuffer: 1e8, ...options };
      execFile(process.execPath, [bin, ...args], settings, (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === "number") resolve({ code, stdout, stderr });
        else reject(new Error(`kws ${args.join(" ")} did not run`, { cause: error }));
      });
    });
  const json = async <T>(...args: string[]): Promise<T> => {
    const result = await run([...args, "-o", "json"]);
    if (result.code !== 0)
      throw new Error(`kws ${args.join(" ")} failed with ${result.code}:\n${result.stderr}`);
    return JSON.parse(result.stdout) as T;
  };
  const cluster = (name = "default"): Promise<ClusterStatus> => json("cluster", "status", name);
  return {
    home,
    run,
    json,
    cluster,
    client: async (name) => new KubeClient(await connect({ path: (await cluster(name)).kubeconfigPath })),
    async [Symbol.asyncDispose]() {
      const clusters = await json<ClusterStatus[]>("cluster", "list");
      for (const { name } of clusters) await run(["cluster", "reset", name, "--yes"]);
      await rm(home, { recursive: true, force: true });
    },
  };
}
