/** `kws` as a person runs it, with an empty home of its own, and the Kubernetes API that it starts. */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KubeClient } from "@kws/kube/client";
import { connect } from "@kws/kube/kubeconfig";

export const repository = fileURLToPath(new URL("..", import.meta.url));
const bin = join(repository, "packages/cli/bin/kws.js");

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

/**
 * The environment of somebody with an empty home on this machine: what leads to the network (proxies, certificates) is the
 * machine's, and settings of kws, kubectl and of the npm that runs the tests are gone. npm's downloads are kept between runs.
 */
export function personOf(home: string): NodeJS.ProcessEnv {
  const foreign =
    /^(KWS_|XDG_|KUBECONFIG$|HELM_|npm_(?!config_(cache|registry|cafile)$)|VITEST|NODE_ENV$|INIT_CWD$)/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(kept), HOME: home, TERM: "dumb" };
}

/** Disposing it resets the clusters that were started under it. */
export async function newKws(): Promise<Kws> {
  const home = await mkdtemp(join(tmpdir(), "kws-e2e-"));
  const run: Kws["run"] = (args, options = {}) =>
    new Promise((resolve, reject) => {
      const env = personOf(home);
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
