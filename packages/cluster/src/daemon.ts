/**
 * The process of one cluster, started by `lifecycle.ts`: reads its arguments, runs the cluster, says on its fourth file
 * descriptor that it is ready or why not, and ends on SIGTERM.
 */
import { readFile } from "node:fs/promises";
import { createWriteStream } from "node:fs";
import { replaceFile, replaceFileSync } from "@kws/base/atomicfile";
import type { StartMessage } from "@kws/base/detached";
import { UserError } from "@kws/base/errors";
import { createLogger } from "@kws/base/logger";
import { identify } from "@kws/base/process";
import { runCluster, type Cluster } from "./cluster.ts";
import { serveControl } from "./control.ts";
import { readChoice } from "./kubelet/runtimes/choice.ts";
import { prepareSocket } from "./sockets.ts";
import { controlSocket, kubeconfigFile, runtimeFile, stateFile, type DaemonState } from "./state.ts";
import { kubernetesVersion } from "./version.ts";

const [name, folder, imagesFolder, givenIngressPort] = process.argv.slice(2);
const defaultIngressPort = 8080;
if (name === undefined || folder === undefined || imagesFolder === undefined) {
  throw new Error("usage: daemon NAME FOLDER IMAGES_FOLDER [INGRESS_PORT]");
}

const messages = createWriteStream("", { fd: 3 });
// Whoever started the cluster may be gone by the time that it is ready.
messages.on("error", () => logger.warn("nobody is listening for this cluster to be ready"));
const logger = createLogger((line) => process.stderr.write(line));

// The user's own may be such that a container's root folder is closed to its users, or open to others for writing.
process.umask(0o022);

let cluster: Cluster | undefined;
let current: DaemonState | undefined;
let stopping = false;
/** When the cluster's parts were restarted, by `performance.now()`. */
let recoveries: number[] = [];

async function main(name: string, folder: string, imagesFolder: string): Promise<void> {
  const previous = current ?? (await previousState(folder));
  cluster = await runCluster({
    name,
    folder,
    imagesFolder,
    runtime: await readChoice(runtimeFile(folder)),
    apiPort: previous?.apiPort,
    // Addresses stay what they were, so that a browser's tab works again after a restart.
    ingressPort: Number(
      current?.ingressPort ?? givenIngressPort ?? previous?.ingressPort ?? defaultIngressPort,
    ),
    previousIngressPort: previous?.ingressPort,
    node: { path: process.execPath, version: process.versions.node },
    env: process.env,
    logger,
    now: Date.now,
  });
  const daemon = identify(process.pid);
  if (daemon === undefined) throw new Error("the system does not know this process");
  const state: DaemonState = {
    daemon,
    apiPort: cluster.apiPort,
    ingressPort: cluster.ingressPort,
    ingressPortMoved: cluster.ingressPort !== Number(givenIngressPort ?? defaultIngressPort),
    startedAt: new Date().toISOString(),
    version: kubernetesVersion,
  };
  await replaceFile(kubeconfigFile(folder), cluster.kubeconfig, { mode: 0o600 });
  await replaceFile(stateFile(folder), stateText(state), { mode: 0o600 });
  current = state;
  if (!messages.writableEnded) say({ type: "ready" });
  logger.info("ready", { apiPort: cluster.apiPort, ingressPort: cluster.ingressPort });
  void cluster.agentGone.then(() => recover(name, folder, imagesFolder));
}

/** The containers are gone, and all else is on disk: the cluster's parts start anew, on the same ports. */
async function recover(name: string, folder: string, imagesFolder: string): Promise<void> {
  if (stopping) return;
  logger.error("the process that holds the containers has ended");
  recoveries = recoveries.filter((time) => performance.now() - time < 60_000);
  if (recoveries.length >= 3)
    return stop(1, "the process that holds the containers ended four times in a minute");
  recoveries.push(performance.now());
  try {
    await cluster?.stop("at once");
    if (stopping) return;
    await main(name, folder, imagesFolder);
    logger.info("recovered");
  } catch (error) {
    logger.error("could not recover", { error: error instanceof Error ? error.stack : String(error) });
    const why = error instanceof Error ? error.message : String(error);
    await stop(1, `the process that holds the containers ended, and another did not start: ${why}`);
  }
}

async function stop(code: number, why = "", how: "gracefully" | "at once" = "at once"): Promise<void> {
  if (stopping && how === "gracefully") return;
  stopping = true;
  await cluster?.stop(how);
  sayWhy(why);
  process.exit(code);
}

function stateText(state: DaemonState): string {
  return `${JSON.stringify(state, undefined, 2)}\n`;
}

/** For `kws cluster status`. */
function sayWhy(ended: string): void {
  if (current === undefined || folder === undefined) return;
  try {
    replaceFileSync(stateFile(folder), stateText({ ...current, ended }), { mode: 0o600 });
  } catch (error) {
    logger.warn("the cluster's state is not written", { error: String(error) });
  }
}

function say(message: StartMessage): void {
  messages.end(`${JSON.stringify(message)}\n`);
}

async function previousState(folder: string): Promise<DaemonState | undefined> {
  try {
    const state = JSON.parse(await readFile(stateFile(folder), "utf8")) as Partial<DaemonState> | null;
    return typeof state?.apiPort === "number" ? (state as DaemonState) : undefined;
  } catch {
    return undefined; // The first start, or a file that a newer one replaces.
  }
}

process.on("SIGTERM", () => void stop(0, "", "gracefully"));
process.on("SIGINT", () => void stop(0, "", "gracefully"));
process.on("SIGQUIT", () => void stop(0));
process.on("SIGHUP", () => {});
process.on("uncaughtException", (error) => {
  logger.error("uncaught exception", { error: error.stack });
  sayWhy(`an error in the cluster's own process: ${error.message}`);
  // State is on disk and containers outlive this process: the next start continues where this one ended.
  process.exit(70);
});
process.on("unhandledRejection", (error) => {
  logger.error("unhandled rejection", { error: error instanceof Error ? error.stack : String(error) });
});

try {
  await serveControl(await prepareSocket(controlSocket(folder)), async (target, signal) => {
    if (cluster === undefined || stopping) throw new UserError("the cluster is being started or stopped");
    return cluster.snapshot(target, signal);
  });
  await main(name, folder, imagesFolder);
} catch (error) {
  logger.error("could not start", { error: error instanceof Error ? error.stack : String(error) });
  const { message } = error instanceof Error ? error : { message: String(error) };
  const more = error instanceof UserError ? { code: error.code, fix: error.fix } : {};
  say({ type: "failed", message, ...more });
  process.exitCode = 1;
  await cluster?.stop("at once");
  setTimeout(() => process.exit(1), 1000).unref();
}
