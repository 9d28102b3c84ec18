/** A process of this machine with what a service's container has: its variables, its mounted files, and the cluster's names. */
import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { KubeObject } from "@kws/kube/object";
import { openMemoryFolder } from "../secrets/memory-folder.ts";
import { readNamespace, workloadsOf } from "../services/workloads.ts";
import type { Cluster } from "./cluster.ts";
import { environmentOf, filesOf, type PodContainer, relocate, Sources } from "./environment.ts";
import { openLocalProxy, proxyVariables } from "./local-proxy.ts";
import { hostsLines, openNames, rewriteHosts } from "./names.ts";

export interface LocalRun {
  cluster: Cluster;
  service: string;
  namespace: string;
  /** The pod's container; its first unless given. */
  container: string | undefined;
  command: string[];
  /** Also a proxy for the cluster's names, in the variables that programs look for one in. */
  proxy: boolean;
  cwd: string;
  /** This machine's variables; the service's are added. */
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  uid: number | undefined;
  /** Ends the process. */
  signal: AbortSignal;
  /** What of the container cannot be had here. */
  onNote: (message: string) => void;
}

/** Runs it to its end, and answers its exit code as a shell does. */
export async function runLocally(run: LocalRun): Promise<number> {
  const { cluster, service, namespace, env, platform, uid, signal } = run;
  const { pod, container } = await findContainer(run);
  const sources = new Sources(cluster.client, namespace);
  const [variables, mounted] = await Promise.all([
    environmentOf(pod, container, sources),
    filesOf(pod, container, sources),
  ]);
  for (const path of mounted.missing) run.onNote(`the volume at ${path} of ${service} stays in the cluster`);
  const wrapper = platform === "linux" ? await hostsWrapper(env, uid) : undefined;
  await using folder = await openMemoryFolder({ env, platform, uid, signal });
  const root = join(folder.path, "root");
  await mkdir(root, { mode: 0o700 });
  for (const [path, bytes] of mounted.files) {
    await mkdir(dirname(join(root, path)), { recursive: true, mode: 0o700 });
    await writeFile(join(root, path), bytes, { mode: 0o600 });
  }
  for (const path of mounted.mounts) {
    if (!mounted.files.has(path)) await mkdir(join(root, path), { recursive: true, mode: 0o700 });
  }
  await using local = await openNames({ cluster, namespace, ownAddresses: wrapper !== undefined, signal });
  const hostsKnown = wrapper !== undefined;
  const own = Object.fromEntries(
    Object.entries(relocate(variables, mounted.mounts, root)).map(([name, value]) => [
      name,
      rewriteHosts(value, local.names, hostsKnown),
    ]),
  );
  await using proxy = run.proxy ? await openLocalProxy(run) : undefined;
  const proxied = proxy === undefined ? {} : proxyVariables(proxy);
  const hosts = join(folder.path, "hosts");
  if (hostsKnown) await writeFile(hosts, (await readFile("/etc/hosts", "utf8")) + hostsLines(local.names));
  const command = wrapper === undefined ? run.command : [...wrapper, hosts, ...run.command];
  // Awaited here: what it uses goes away with this function.
  return await finish(command, { ...env, ...own, ...proxied, KWS_ROOT: root }, run);
}

async function findContainer({
  cluster,
  service,
  namespace,
  container,
  signal,
}: LocalRun): Promise<{ pod: KubeObject; container: PodContainer }> {
  const objects = await readNamespace(cluster.client, namespace, signal);
  const workloads = workloadsOf(objects, service);
  const [workload] = workloads;
  // Where none runs, the template says as much, but for what only a pod knows.
  const pod =
    workloads.flatMap(({ pods }) => pods)[0] ??
    (workload?.object["spec"]?.template as KubeObject | undefined);
  const containers = (pod?.["spec"]?.containers ?? []) as PodContainer[];
  const found = container === undefined ? containers[0] : containers.find(({ name }) => name === container);
  if (pod === undefined || found === undefined) {
    throw new UserError(
      container === undefined ? `${service} has no workload` : `${service} has no container "${container}"`,
      { code: "not-found", fix: `See \`kws service status ${service}\`.` },
    );
  }
  return { pod: { ...pod, metadata: { namespace, ...pod.metadata } }, container: found };
}

/** `mount` as root of a namespace of its own, and then as nobody special again. */
const script = 'mount --bind "$0" /etc/hosts && exec setpriv --ambient-caps=-all "$@"';

/** What goes before a hosts file and a command, so that the command sees that file; undefined where the machine forbids it. */
async function hostsWrapper(env: NodeJS.ProcessEnv, uid: number | undefined): Promise<string[] | undefined> {
  const user = uid === 0 ? [] : ["--user", "--map-current-user", "--keep-caps"];
  const wrapper = ["unshare", ...user, "--mount", "sh", "-c", script];
  const [file, ...args] = [...wrapper, "/etc/hosts", "true"];
  const works = await new Promise<boolean>((resolve) => {
    const child = spawn(file, args, { env, stdio: "ignore" });
    child.once("error", () => resolve(false));
    child.once("close", (code) => resolve(code === 0));
  });
  return works ? wrapper : undefined;
}

/** As shells count a process that a signal ended. */
const signalled = 128;

function finish([file = "", ...args]: string[], env: NodeJS.ProcessEnv, run: LocalRun): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env, cwd: run.cwd, stdio: "inherit" });
    const stop = () => child.kill("SIGTERM");
    run.signal.addEventListener("abort", stop, { once: true });
    child.once("error", (error) => {
      run.signal.removeEventListener("abort", stop);
      reject(
        new UserError(`${run.command[0]} cannot be run`, {
          code: "not-found",
          fix: "Correct the command after --.",
          cause: error,
        }),
      );
    });
    child.once("close", (code, signal) => {
      run.signal.removeEventListener("abort", stop);
      resolve(code ?? signalled + constants.signals[signal ?? "SIGKILL"]);
    });
  });
}
