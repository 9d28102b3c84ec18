/** `kws` as a person runs it, with an empty home of its own, and the Kubernetes API that it starts. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { KubeClient } from "@kws/kube/client";
import { connect } from "@kws/kube/kubeconfig";

export const repository = fileURLToPath(new URL("..", import.meta.url));
const bin = join(repository, "packages/cli/bin/kws.js");

/** What reaches the packages that `npm ci` has fetched already; the rest of this machine's settings stay out. */
export const inherited = {
  PATH: process.env["PATH"],
  NODE_EXTRA_CA_CERTS: process.env["NODE_EXTRA_CA_CERTS"],
  HTTPS_PROXY: process.env["HTTPS_PROXY"] ?? process.env["https_proxy"],
  npm_config_registry: process.env["npm_config_registry"],
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

export interface RunOptions {
  cwd?: string;
  signal?: AbortSignal;
  /** Variables that are set as well. */
  env?: NodeJS.ProcessEnv;
  /** Standard input; nothing unless given. */
  input?: string;
}

export interface Kws extends AsyncDisposable {
  home: string;
  /** The words that start it in a shell, with its environment and nothing else but the terminal's kind. */
  shellWords: string;
  /** Runs a command to its end, whatever its exit code. */
  run(args: string[], options?: RunOptions): Promise<Result>;
  /** Starts a command, for those that are to be interrupted. */
  spawn(args: string[], cwd?: string): ChildProcess;
  /** The folder of a cluster's own files. */
  clusterFolder(name?: string): string;
  /** Process ids of all that was started from this home. */
  processes(): number[];
  /** Runs a command that must succeed, and parses what it prints with `-o json`. */
  json<T>(...args: string[]): Promise<T>;
  cluster(name?: string): Promise<ClusterStatus>;
  client(name?: string): Promise<KubeClient>;
}

export interface KwsOptions {
  /** Another user than the one that runs the tests, who must be root. */
  user?: { uid: number; gid: number };
}

/** Disposing it resets the clusters that were started under it. */
export async function newKws({ user }: KwsOptions = {}): Promise<Kws> {
  const home = await mkdtemp(join(tmpdir(), "kws-e2e-"));
  if (user !== undefined) await chown(home, user.uid, user.gid);
  const { npm_config_cache, ...others } = inherited;
  // Another user cannot write to the cache of this one.
  const env = { ...others, ...(user === undefined ? { npm_config_cache } : {}), HOME: home, TERM: "dumb" };
  const run: Kws["run"] = (args, { input, ...options } = {}) =>
    new Promise((resolve, reject) => {
      const settings = {
        cwd: repository,
        maxBuffer: 1e8,
        ...user,
        ...options,
        env: { ...env, ...options.env },
      };
      const child = execFile(process.execPath, [bin, ...args], settings, (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === "number") resolve({ code, stdout, stderr });
        else reject(new Error(`kws ${args.join(" ")} did not run`, { cause: error }));
      });
      if (input !== undefined) child.stdin?.end(input);
    });
  const json = async <T>(...args: string[]): Promise<T> => {
    const result = await run([...args, "-o", "json"]);
    if (result.code !== 0)
      throw new Error(`kws ${args.join(" ")} failed with ${result.code}:\n${result.stderr}`);
    return JSON.parse(result.stdout) as T;
  };
  const cluster = (name = "default"): Promise<ClusterStatus> => json("cluster", "status", name);
  const settings = Object.entries(env).flatMap(([name, value]) =>
    value === undefined || name === "TERM" ? [] : [`${name}=${value}`],
  );
  return {
    home,
    shellWords: `env -i TERM="$TERM" ${[...settings, process.execPath, bin].map((word) => `'${word}'`).join(" ")}`,
    run,
    spawn: (args, cwd = repository) =>
      spawn(process.execPath, [bin, ...args], { env, cwd, ...user, stdio: "ignore" }),
    clusterFolder: (name = "default") => join(home, ".local/share/kws/clusters", name),
    processes: () => processesOf(home),
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

function processesOf(home: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const folder = join("/proc", pid);
        return (readFileSync(join(folder, "cmdline"), "utf8") + readlinkSync(join(folder, "cwd"))).includes(
          home,
        );
      } catch {
        return false; // It has ended meanwhile.
      }
    })
    .map(Number);
}
