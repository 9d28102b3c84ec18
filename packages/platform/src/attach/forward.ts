/**
 * A local port that leads to a service for as long as the command runs. Every connection looks for a ready pod of its own, so
 * that nothing has to be mended when pods are replaced, the API server restarts or the machine sleeps; one that finds none
 * waits for one.
 */
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { ClusterAccess } from "@kws/kube/kubeconfig";
import { openPodPort, type PodPort, PortForwardError } from "@kws/kube/port-forward";
import { findBackends, type Target } from "./backends.ts";
import type { Cluster } from "./cluster.ts";

export interface ForwardOptions {
  cluster: Cluster;
  target: Target;
  /** Other pods than the target's ready ones. */
  findPods?: (signal: AbortSignal) => Promise<PodPort[]>;
  /** An address of this machine. */
  address: string;
  /** Undefined for the port's own number, or the next one that is free. */
  localPort: number | undefined;
  /** The number to begin with where none is given. */
  preferred: number;
  signal: AbortSignal;
  /** Told when connections begin to fail, and when they work again. */
  onState: (state: { working: boolean; reason?: string }) => void;
}

export interface Forward extends AsyncDisposable {
  port: number;
}

/** How long a connection waits for a pod that takes it. */
const patienceMs = 30_000;
const pauseMs = 300;
/** What is kept of what the client said, to say it to another pod. */
const keptBytes = 256 * 1024;
/** For what still comes after the client has said all: the protocol cannot tell the pod that it did. */
const lingerMs = 60_000;

export async function openForward(options: ForwardOptions): Promise<Forward> {
  const over = new AbortController();
  const signal = AbortSignal.any([options.signal, over.signal]);
  const open = new Set<Socket>();
  let working = true;
  const tell = (now: boolean, reason?: string) => {
    if (now === working || signal.aborted) return;
    working = now;
    options.onState({ working, ...(reason === undefined ? {} : { reason }) });
  };
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    open.add(client);
    client.on("error", () => client.destroy());
    client.once("close", () => open.delete(client));
    void carry(client, options, signal, tell).catch((error: unknown) => {
      client.resetAndDestroy();
      tell(false, messageOf(error));
    });
  });
  const port = await listen(server, options);
  return {
    port,
    async [Symbol.asyncDispose]() {
      over.abort(new Error("the forward is closed"));
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const tries = 50;

async function listen(server: Server, { address, localPort, preferred }: ForwardOptions): Promise<number> {
  const first = localPort ?? preferred;
  for (let port = first; ; port++) {
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, address, () => {
          server.off("error", reject);
          resolve();
        });
      });
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const taken = isErrno(error, "EADDRINUSE");
      const forbidden = isErrno(error, "EACCES");
      if (localPort === undefined && taken && port < first + tries) continue;
      // As people do by hand: 80 becomes 8080, 443 becomes 8443.
      if (localPort === undefined && forbidden && port < 1024) {
        port += 7999;
        continue;
      }
      throw new UserError(
        `port ${port} of ${address} ${taken ? "is taken" : `cannot be had: ${messageOf(error)}`}`,
        {
          code: taken ? "conflict" : "permission",
          fix: `Choose another one, such as ${port < 1024 ? port + 8000 : port + 1}:${preferred}.`,
          cause: error,
        },
      );
    }
  }
}

/** One connection, from a pod that takes it to its end. */
async function carry(
  client: Socket,
  { cluster, target, findPods = (until) => findBackends(cluster.client, target, until) }: ForwardOptions,
  signal: AbortSignal,
  tell: (working: boolean, reason?: string) => void,
): Promise<void> {
  const gone = new AbortController();
  client.once("close", () => gone.abort(new Error("the client is gone")));
  const patience = AbortSignal.timeout(patienceMs);
  const stop = AbortSignal.any([signal, gone.signal, patience]);
  const held = new Held(client);
  for (let reason: string; ;) {
    try {
      for (const backend of shuffled(await findPods(stop))) {
        const failure = await tryBackend(cluster.access, backend, held, stop, () => tell(true));
        if (failure === undefined) return;
        reason = messageOf(failure);
        if (!held.replayable) throw failure;
      }
      reason ??= `${target.service} has no ready pod`;
    } catch (error) {
      if (gone.signal.aborted || signal.aborted) return;
      if (!held.replayable || patience.aborted) throw error;
      reason = messageOf(error);
    }
    tell(false, reason);
    try {
      await sleep(pauseMs, stop);
    } catch {
      if (gone.signal.aborted || signal.aborted) return;
      throw new Error(reason);
    }
  }
}

/** What the client said so far, as long as it may be said again. */
class Held {
  readonly client: Socket;
  #chunks: Buffer[] = [];
  #size = 0;
  replayable = true;

  constructor(client: Socket) {
    this.client = client;
  }

  add(chunk: Buffer): void {
    if (!this.replayable) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size > keptBytes) this.forget();
  }

  /** It was heard. */
  forget(): void {
    this.replayable = false;
    this.#chunks = [];
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }
}

/** What the node says where the pod never got a byte. */
const neverReached =
  /refused|not found|failed to (dial|connect|find|get)|no such|unreachable|timed? ?out|not running/i;

/** Resolves at the connection's end, or with the failure where the pod never took it. */
async function tryBackend(
  access: ClusterAccess,
  backend: PodPort,
  held: Held,
  signal: AbortSignal,
  onWorking: () => void,
): Promise<Error | undefined> {
  let remote: Duplex;
  try {
    remote = await openPodPort(access, backend, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof Error)) throw error;
    return error;
  }
  const { client } = held;
  return new Promise((resolve) => {
    const onData = (chunk: Buffer) => {
      held.add(chunk);
      if (!remote.write(chunk)) client.pause();
    };
    const onEnd = () => client.setTimeout(lingerMs, () => client.destroy());
    const onClose = () => remote.destroy();
    const resume = () => client.resume();
    let over = false;
    const done = (failure?: Error) => {
      if (over) return;
      over = true;
      client.off("data", onData).off("end", onEnd).off("close", onClose);
      remote.off("drain", resume);
      // What is not read on is not seen to end.
      if (failure === undefined) client.resume();
      else client.pause();
      resolve(failure);
    };
    remote.once("data", () => {
      held.forget();
      onWorking();
    });
    remote.once("error", (error) => {
      const unheard = error instanceof PortForwardError && neverReached.test(error.message);
      remote.unpipe(client);
      if (held.replayable && (unheard || held.chunks.length === 0) && !client.destroyed) {
        done(error);
        return;
      }
      client.resetAndDestroy();
      done();
    });
    remote.once("close", () => done());
    remote.pipe(client);
    for (const chunk of held.chunks) remote.write(chunk);
    client.on("data", onData).on("end", onEnd).on("close", onClose);
    remote.on("drain", resume);
    client.resume();
  });
}

function shuffled<T>(items: T[]): T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}
