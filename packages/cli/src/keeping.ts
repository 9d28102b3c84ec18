/** The process in the background that keeps a stack's remote services connected, `kws stack connect`: begun, awaited, ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, UserError } from "@kws/base/errors";
import { signalProcess, waitForExit } from "@kws/base/process";
import { sleep } from "@kws/base/retry";
import type { KubeClient } from "@kws/kube/client";
import { type Gateway, type GatewayStack, listGateways, removeGateway } from "@kws/platform/attach/gateway";
import { dropKeeper, findKeeper, isConnected } from "@kws/platform/attach/keeper";
import type { Project } from "@kws/platform/project/workspace";
import type { Connection, Provider, ProviderStatus } from "@kws/platform/providers/provider";
import type { Context } from "./context.ts";

interface ConnectedOptions {
  client: KubeClient;
  gateway: Gateway;
  /** Where it was just started. */
  keeper: ChildProcess | undefined;
  /** What it writes. */
  log: string;
  signal: AbortSignal;
  timeoutMs: number;
  clock: () => number;
}

const pauseMs = 200;

export async function untilConnected(options: ConnectedOptions): Promise<void> {
  const { client, gateway, keeper, log, signal, timeoutMs, clock } = options;
  const { stack, namespace } = gateway;
  const deadline = clock() + timeoutMs;
  for (;;) {
    // Its pod is ready for some seconds longer than anybody is there.
    const said = keeper === undefined ? [{ kind: "connected" }] : await whatItSaid(log);
    const connected = said.some(({ kind }) => kind === "connected");
    if (connected && (await isConnected(client, gateway, signal))) return;
    if (keeper !== undefined && (keeper.exitCode ?? keeper.signalCode) !== null) {
      const last = said.findLast(({ message }) => message !== undefined);
      throw new UserError(
        `what keeps remote services connected has ended: ${last?.message ?? `see ${log}`}`,
        {
          fix: `Try it with \`kws stack connect ${stack}\`.`,
        },
      );
    }
    if (clock() > deadline) {
      throw new UserError(`the gateway to the remote services did not connect in ${timeoutMs / 1000} s`, {
        code: "timeout",
        fix: `See \`kubectl describe pods -n ${namespace} -l kws.dev/remote=${stack}\`, and ${log}.`,
      });
    }
    await sleep(pauseMs, signal);
  }
}

/** Its events and its last failure, by the lines that it has written whole. */
async function whatItSaid(log: string): Promise<{ kind?: string; message?: string }[]> {
  const lines = (await readFile(log, "utf8")).split("\n").slice(0, -1);
  return lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as { kind?: string; message?: string });
}

export function logPath(
  ctx: Context,
  { provider, name }: ProviderStatus,
  { namespace, stack }: GatewayStack,
): string {
  const words = [provider, name, namespace, stack].map(encodeURIComponent);
  return join(ctx.locations.data, "remote", `${words.join("-")}.log`);
}

/** Detached, with what this process was told of workspace and cluster. */
export async function startKeeper(
  ctx: Context,
  project: Project,
  cluster: ProviderStatus,
  at: GatewayStack,
): Promise<ChildProcess> {
  const path = logPath(ctx, cluster, at);
  await mkdir(join(path, ".."), { recursive: true, mode: 0o700 });
  const log = await open(path, "w", 0o600);
  const options = { ...ctx.globals, file: project.file.path, namespace: at.namespace };
  const flags = (["file", "namespace", "provider", "context", "kubeconfig", "cluster"] as const).flatMap(
    (name) => (options[name] === undefined ? [] : [`--${name}`, options[name]]),
  );
  try {
    const child = spawn(
      ctx.nodePath,
      [ctx.program, "stack", "connect", at.stack, ...flags, "--output", "json"],
      {
        cwd: ctx.cwd,
        env: ctx.env,
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
      },
    );
    await once(child, "spawn");
    child.unref();
    return child;
  } finally {
    await log.close();
  }
}

const exitMs = 10_000;
/** For a cluster that is about to be ended to name its gateways. */
const askMs = 5000;

/** Of this machine; one of another machine notices that it has no lease any more. */
export async function endKeeper(
  ctx: Context,
  client: KubeClient,
  cluster: ProviderStatus,
  at: GatewayStack,
): Promise<void> {
  const keeper = await findKeeper(client, at, { host: ctx.holder.host, now: ctx.clock() });
  if (keeper?.process !== undefined) {
    signalProcess(keeper.process, "SIGTERM");
    if (!(await waitForExit(keeper.process, exitMs))) signalProcess(keeper.process, "SIGKILL");
  }
  await dropKeeper(client, at);
  await rm(logPath(ctx, cluster, at), { force: true });
}

/** Nothing of it stays, here or in the cluster. */
export async function disconnect(
  ctx: Context,
  client: KubeClient,
  cluster: ProviderStatus,
  at: GatewayStack,
): Promise<void> {
  await endKeeper(ctx, client, cluster, at);
  await removeGateway(client, at);
}

/** A stack's, in one namespace or in all. */
export async function disconnectStack(
  ctx: Context,
  { client }: Connection,
  provider: Provider,
  { stack, namespace }: { stack: string; namespace: string | undefined },
): Promise<void> {
  const gateways = await listGateways(client, { stack, signal: ctx.signal });
  const cluster = await provider.status();
  for (const gateway of gateways) {
    if (namespace === undefined || gateway.namespace === namespace) {
      await disconnect(ctx, client, cluster, gateway);
    }
  }
}

/** Before a cluster ends: what keeps its gateways connected would look for it for a while. */
export async function endKeepers(ctx: Context, provider: Provider): Promise<void> {
  if (provider.name === "kubeconfig") return;
  try {
    const cluster = await provider.status();
    if (cluster.state !== "running") return;
    const { client } = await ctx.connect(provider);
    // One that hangs does not keep anybody from ending it.
    const signal = AbortSignal.any([ctx.signal, AbortSignal.timeout(askMs)]);
    for (const gateway of await listGateways(client, { signal })) {
      await endKeeper(ctx, client, cluster, gateway);
    }
  } catch (error) {
    // A cluster that is broken can be ended all the same.
    ctx.log.debug("remote services", { error: messageOf(error) });
  }
}
