/**
 * A connection to a port of a pod, through the API server: `portforward` over a WebSocket, one connection each
 * (k8s.io/kubelet `portforward/websocket.go`: a data and an error channel, each beginning with the port as two bytes). The
 * protocol has no end of one direction alone: ending the writable side tells the pod nothing, and destroying ends both.
 */
import type { IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { pathOf } from "./client.ts";
import type { ClusterAccess } from "./kubeconfig.ts";
import { pods } from "./resources.ts";
import { ApiError, apiError, type Status } from "./status.ts";

export interface PodPort {
  namespace: string;
  pod: string;
  port: number;
}

/** In the node's words: why the pod's port could not be reached, or what broke the connection. */
export class PortForwardError extends Error {
  override name = "PortForwardError";
}

const protocols = ["v4.channel.k8s.io", "portforward.k8s.io"];
const handshakeMs = 10_000;
/** A connection whose far side says nothing for two of these is dead: a proxy forgot it, or the machine slept. */
const pingMs = 10_000;

/**
 * Resolves when the API server has agreed, and before the pod has: a port that nothing listens on is a `PortForwardError` of the
 * stream. Rejects with `ApiError` where the API server refuses.
 */
export async function openPodPort(
  access: ClusterAccess,
  { namespace, pod, port }: PodPort,
  signal: AbortSignal,
): Promise<Duplex> {
  const path = `${pathOf(pods, namespace, pod, "portforward")}?ports=${port}`;
  const socket = new WebSocket(access.server.replace(/^http/, "ws").replace(/\/$/, "") + path, protocols, {
    headers: await access.headers(),
    ca: access.ca,
    cert: access.cert,
    key: access.key,
    ...(access.serverName === undefined ? {} : { servername: access.serverName }),
    rejectUnauthorized: access.insecureSkipTlsVerify !== true,
    perMessageDeflate: false,
    handshakeTimeout: handshakeMs,
  });
  const stop = () => socket.terminate();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise<Duplex>((resolve, reject) => {
      // The first frames may come with the handshake's answer: the stream has to be there by then.
      socket.once("open", () => resolve(new PodPortStream(socket)));
      socket.once("error", (error) => reject(signal.aborted ? signal.reason : error));
      socket.once("unexpected-response", (_request, response: IncomingMessage) => {
        void refusal(response).then(reject, reject);
      });
    });
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

async function refusal(response: IncomingMessage): Promise<Error> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    const status = JSON.parse(text) as Status;
    if (status.kind === "Status") return new ApiError(status);
  } catch {
    // Not the API server's own words: a proxy in between answered.
  }
  const error = apiError("InternalError", text.trim().slice(0, 500) || `HTTP ${response.statusCode}`);
  return new ApiError({ ...error.status, code: response.statusCode ?? 500 });
}

const dataChannel = 0;
const prefixLength = 2;

class PodPortStream extends Duplex {
  readonly #socket: WebSocket;
  readonly #timer: NodeJS.Timeout;
  readonly #begun = new Set<number>();
  #failure = "";
  #heard = true;

  constructor(socket: WebSocket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    socket.on("message", (data: Buffer) => this.#onMessage(data));
    socket.on("pong", () => {
      this.#heard = true;
    });
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", (code) => {
      if (this.#failure !== "") this.destroy(new PortForwardError(this.#failure));
      else if (code === 1000) this.push(null);
      else this.destroy(new Error("the connection to the API server was lost"));
    });
    this.#timer = setInterval(() => this.#ping(), pingMs);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.send(Buffer.concat([Buffer.of(dataChannel), chunk]), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearInterval(this.#timer);
    this.#socket.terminate();
    done(error);
  }

  #onMessage(data: Buffer): void {
    this.#heard = true;
    const channel = data[0] ?? 0;
    const first = !this.#begun.has(channel);
    this.#begun.add(channel);
    const payload = data.subarray(first ? 1 + prefixLength : 1);
    if (payload.length === 0) return;
    if (channel !== dataChannel) this.#failure += payload.toString("utf8");
    else if (!this.push(payload)) this.#socket.pause();
  }

  #ping(): void {
    // Whoever does not read does not hear either.
    if (this.#socket.isPaused) return;
    if (!this.#heard) {
      this.#socket.terminate();
      return;
    }
    this.#heard = false;
    this.#socket.ping();
  }
}
