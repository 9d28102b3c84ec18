/** The laptop's end of an intercept's tunnel: HTTP/2 in which it is the server, over one port-forward to the proxy. */
import { performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { connect } from "node:net";
import { openPodPort, type PodPort } from "@kws/kube/port-forward";
import type { Cluster } from "./cluster.ts";

export interface LocalAddress {
  host: string;
  port: number;
}

export interface LaptopOptions {
  cluster: Cluster;
  pod: PodPort;
  token: string;
  /** Where the process listens that a connection of that path is for; undefined where there is none. */
  local: (path: string) => Promise<LocalAddress | undefined>;
  signal: AbortSignal;
  /** Told for each connection that came. */
  onConnection: (taken: boolean) => void;
}

const windowSize = 1024 * 1024;
const pingMs = 5000;
const deadMs = 15_000;
const greetingMs = 10_000;
/** A server on the laptop that is just starting again is worth a moment; for longer, the pods in the cluster answer. */
const connectMs = 2000;

/** Resolves when the tunnel is open, with what resolves when it is not any more. */
export async function openLaptop(options: LaptopOptions): Promise<{ closed: Promise<void> }> {
  const { cluster, pod, token, signal } = options;
  const wire = await openPodPort(cluster.access, pod, signal);
  await greet(wire, token);
  const session = performServerHandshake(wire, { settings: { initialWindowSize: windowSize } });
  const closed = new Promise<void>((resolve) => session.once("close", () => resolve()));
  session.on("error", () => session.destroy());
  session.on("stream", (stream, headers) => {
    stream.on("error", () => stream.destroy());
    options
      .local(String(headers[":path"]))
      .then((local) => take(stream, local, options))
      .catch(() => stream.destroy());
  });
  wire.once("close", () => session.destroy());
  keepAlive(session);
  const stop = () => session.destroy();
  signal.addEventListener("abort", stop, { once: true });
  session.once("close", () => {
    signal.removeEventListener("abort", stop);
    wire.destroy();
  });
  return { closed };
}

/** The proxy answers a line where it takes the token. */
async function greet(wire: Duplex, token: string): Promise<void> {
  wire.write(`${token}\n`);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => wire.destroy(new Error("the proxy does not answer")), greetingMs);
    let said = "";
    const onReadable = () => {
      for (let byte; (byte = wire.read(1) as Buffer | null) !== null;) {
        said += byte.toString("latin1");
        if (!said.endsWith("\n")) continue;
        wire.off("readable", onReadable).off("close", onClose);
        clearTimeout(timer);
        resolve();
        return;
      }
    };
    let failure: Error | undefined;
    const onClose = () => {
      clearTimeout(timer);
      reject(failure ?? new Error("the proxy closed the connection"));
    };
    wire.on("error", (error) => {
      failure = error;
    });
    wire.on("readable", onReadable);
    wire.once("close", onClose);
    wire.once("end", () => wire.destroy());
  });
}

function keepAlive(session: ServerHttp2Session): void {
  let heard = performance.now();
  const timer = setInterval(() => {
    if (performance.now() - heard > deadMs) session.destroy();
    else {
      session.ping(() => {
        heard = performance.now();
      });
    }
  }, pingMs);
  session.once("close", () => clearInterval(timer));
}

function refuse(stream: ServerHttp2Stream, { onConnection }: LaptopOptions): void {
  if (stream.destroyed) return;
  onConnection(false);
  stream.respond({ ":status": 503 }, { endStream: true });
}

function take(stream: ServerHttp2Stream, local: LocalAddress | undefined, options: LaptopOptions): void {
  if (local === undefined || stream.destroyed) {
    refuse(stream, options);
    return;
  }
  const socket = connect({ ...local, allowHalfOpen: true });
  const timer = setTimeout(() => socket.destroy(new Error("timeout")), connectMs);
  let connected = false;
  stream.on("error", () => socket.destroy());
  stream.once("close", () => {
    if (!socket.readableEnded) socket.destroy();
  });
  socket.once("connect", () => {
    clearTimeout(timer);
    connected = true;
    options.onConnection(true);
    stream.respond({ ":status": 200 });
    socket.pipe(stream);
    stream.pipe(socket);
  });
  socket.on("error", () => {
    clearTimeout(timer);
    if (!connected) refuse(stream, options);
    else if (!stream.destroyed) stream.close();
  });
}
