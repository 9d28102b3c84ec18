/** HTTPS on loopback and on a Unix socket: Node's requests to the handler's and its answers back. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";
import { UserError, isErrno } from "@kws/base/errors";
import { apiError } from "@kws/kube/status";
import { anonymous, authenticate, type StaticToken } from "./authentication.ts";
import type { ServerContext } from "./context.ts";
import { failure, type Handler } from "./handler.ts";
import type { Pki } from "./pki.ts";
import type { ApiRequest, ApiResponse, User } from "./request.ts";
import type { Upgrader } from "./streaming/upgrade.ts";

/** As upstream. */
const bodyLimit = 3 * 1024 * 1024;
/** Answers shorter than this are not worth compressing; as upstream. */
const gzipThreshold = 128 * 1024;

const compress = promisify(gzip);

/** One for all: every request ends with it, and the default reason is an error with a stack. */
const clientGone = "the client has gone";

export interface ListenerOptions {
  context: ServerContext;
  handler: Handler;
  upgrade: Upgrader;
  pki: Pki;
  staticTokens?: StaticToken[];
}

export interface Listener {
  server: Server;
  /** Ends all connections, also those that have become streams. */
  close(): Promise<void>;
}

export function createListener({ context, handler, upgrade, pki, staticTokens }: ListenerOptions): Listener {
  const server = createServer({
    key: pki.serverKey,
    cert: pki.serverCertificate,
    ca: pki.caCertificate,
    requestCert: true,
    // Clients without a certificate may bring a token; a certificate of another authority is ignored below.
    rejectUnauthorized: false,
    minVersion: "TLSv1.2",
    ALPNProtocols: ["http/1.1"],
    keepAliveTimeout: 90_000,
    noDelay: true,
  });
  server.requestTimeout = 0;
  const whoIs = (incoming: IncomingMessage): User => {
    const socket = incoming.socket as TLSSocket;
    const protocols = incoming.headers["sec-websocket-protocol"];
    const { authorization } = incoming.headers;
    const certificate = certificateOf(socket);
    return authenticate({ certificate, authorization, protocols }, context.tokens, staticTokens) ?? anonymous;
  };
  server.on("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    serve(context, handler, whoIs, incoming, outgoing).catch((error: unknown) => {
      // The client has gone in the middle of an answer.
      context.logger.debug("connection ended", { error: String(error) });
      outgoing.destroy();
    });
  });
  server.on("upgrade", (incoming, socket, head) => {
    upgrade(incoming, socket, head, () => whoIs(incoming));
  });
  const connections = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    connections.add(socket);
    socket.on("close", () => connections.delete(socket));
  });
  return {
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of connections) socket.destroy();
      }),
  };
}

async function serve(
  context: ServerContext,
  handler: Handler,
  whoIs: (incoming: IncomingMessage) => User,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method = "GET", url = "/" } = incoming;
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  let answer: ApiResponse;
  try {
    const gone = new AbortController();
    outgoing.on("close", () => gone.abort(clientGone));
    let body: Promise<Buffer> | undefined;
    const request: ApiRequest = {
      method,
      path,
      query: new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1)),
      headers: incoming.headers as ApiRequest["headers"],
      body: () => (body ??= readBody(incoming)),
      user: whoIs(incoming),
      signal: gone.signal,
    };
    answer = await handler(request);
  } catch (error) {
    answer = failure(context, { method, path }, error);
  }
  await send(incoming, outgoing, answer);
  // What the handler had no use for must not be taken for the next request.
  if (!incoming.complete) incoming.resume();
}

async function send(incoming: IncomingMessage, outgoing: ServerResponse, answer: ApiResponse): Promise<void> {
  const { status, headers, body } = answer;
  if (typeof body === "string" || body instanceof Uint8Array) {
    let bytes: Uint8Array = typeof body === "string" ? Buffer.from(body) : body;
    if (
      bytes.length >= gzipThreshold &&
      /\bgzip\b/.test(incoming.headers["accept-encoding"]?.toString() ?? "")
    ) {
      bytes = await compress(bytes, { level: constants.Z_BEST_SPEED });
      headers["content-encoding"] = "gzip";
    }
    const length: Record<string, string> = status === 304 ? {} : { "content-length": String(bytes.length) };
    outgoing.writeHead(status, { ...headers, ...length });
    outgoing.end(incoming.method === "HEAD" || status === 304 ? undefined : bytes);
    return;
  }
  outgoing.writeHead(status, headers);
  outgoing.flushHeaders();
  for await (const chunk of body) {
    if (outgoing.destroyed) break;
    if (!outgoing.write(chunk)) await drained(outgoing);
  }
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off("drain", done);
      outgoing.off("close", done);
      resolve();
    };
    outgoing.on("drain", done);
    outgoing.on("close", done);
  });
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // The connection has to live on, to carry the refusal.
  for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyLimit) {
      throw apiError("RequestEntityTooLarge", `Request entity too large: limit is ${bodyLimit}`);
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

/** Reading a certificate costs more than the rest of a small request, and a connection never changes its own. */
const certificates = new WeakMap<TLSSocket, PeerCertificate | undefined>();

function certificateOf(socket: TLSSocket): PeerCertificate | undefined {
  if (!certificates.has(socket)) {
    certificates.set(socket, socket.authorized ? socket.getPeerCertificate() : undefined);
  }
  return certificates.get(socket);
}

/** Listens on a loopback port (0 chooses one) or a Unix socket; answers the port, or 0. */
export function listen(server: Server, at: { port: number } | { path: string }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(describe(error, at)));
    server.listen("port" in at ? { port: at.port, host: "127.0.0.1" } : at, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

function describe(error: unknown, at: { port: number } | { path: string }): unknown {
  if (!isErrno(error, "EADDRINUSE", "EACCES")) return error;
  const where = "port" in at ? `port ${at.port}` : `socket ${at.path}`;
  const what = isErrno(error, "EADDRINUSE") ? "is in use" : "may not be opened";
  return new UserError(`${where} ${what}`, {
    fix: "choose another one, or end the program that has it",
    code: "conflict",
    cause: error,
  });
}
