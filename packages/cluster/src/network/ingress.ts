/** The Ingress listener: an HTTP reverse proxy on the host's loopback whose connections to pods the runtime dials. */
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import type { SecureContext } from "node:tls";
import { isErrno, UserError, messageOf } from "@kws/base/errors";
import type { Logger } from "@kws/base/logger";
import { goesToCanary } from "./canary.ts";
import type { KeyPair } from "./certificates.ts";
import type { IngressMetrics } from "./ingress-metrics.ts";
import type { Endpoint } from "./records.ts";
import { findRoute, type Route } from "./routes.ts";

export interface IngressOptions {
  dial(host: string, port: number): Promise<Duplex>;
  routes(): Route[];
  /** Where the route's traffic may go now; undefined when there is no such Service or port. */
  endpoints(route: Route): Endpoint[] | undefined;
  /** The certificate for a server name, of a Secret that an Ingress names; undefined where none does. */
  secureContext(serverName: string): SecureContext | undefined;
  metrics: IngressMetrics;
  logger: Logger;
}

/** nginx's number for a client that did not wait. */
const clientClosedRequest = 499;

/** Headers that concern one connection only (RFC 9110 §7.6.1). */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

interface Target {
  endpoint: Endpoint;
  route: Route;
}

/** No endpoint to go to. Without a route the request is nobody's. */
interface Refusal {
  status: number;
  text: string;
}

export class IngressListener {
  readonly #options: IngressOptions;
  readonly #agent: Agent;
  readonly #turns = new Map<string, number>();
  readonly #servers: Server[] = [];

  constructor(options: IngressOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxFreeSockets: 16, timeout: 60_000 });
    // Node asks the agent for a connection; the runtime makes it, from inside the cluster's network.
    this.#agent.createConnection = (target, callback) => {
      const { host, port } = target as { host?: string | null; port?: number | string | null };
      void this.#connect(host ?? "", Number(port), callback);
      return undefined;
    };
  }

  async #connect(
    host: string,
    port: number,
    callback: ((error: Error | null, connection: Duplex) => void) | undefined,
  ): Promise<void> {
    let connection: Duplex;
    try {
      connection = await this.#options.dial(host, port);
    } catch (error) {
      callback?.(error instanceof Error ? error : new Error(String(error)), undefined as never);
      return;
    }
    callback?.(null, withSocketMethods(connection));
  }

  /**
   * Listens on the first free loopback port from `from`, with TLS where there is a certificate, which is for server names that
   * have no other; answers the port.
   */
  async listen(
    from: number,
    { second, certificate }: { second?: number | undefined; certificate?: KeyPair },
  ): Promise<number> {
    const secure = certificate !== undefined;
    const onRequest: RequestListener = (request, response) => this.#serve(request, response, secure);
    const server = secure
      ? createTlsServer(
          { ...certificate, SNICallback: (name, done) => done(null, this.#options.secureContext(name)) },
          onRequest,
        )
      : createServer(onRequest);
    // Streams and long polls are the application's to end.
    server.requestTimeout = 0;
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head, secure));
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      const line =
        error.code === "HPE_HEADER_OVERFLOW" ? "431 Request Header Fields Too Large" : "400 Bad Request";
      if (socket.writable) socket.end(`HTTP/1.1 ${line}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      else socket.destroy();
    });
    const port = await listenFrom(server, from, second);
    this.#servers.push(server);
    return port;
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await Promise.all(
      this.#servers.map(async (server) => {
        server.closeAllConnections();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      }),
    );
  }

  #serve(request: IncomingMessage, response: ServerResponse, secure: boolean): void {
    const { main, target } = this.#target(request);
    if (main !== undefined) {
      const began = performance.now();
      response.on("close", () => {
        const status = response.writableFinished ? response.statusCode : clientClosedRequest;
        this.#count(request, main, target, status, began);
      });
    }
    if ("status" in target) {
      answer(response, target.status, target.text);
      return;
    }
    this.#forward(request, response, target, secure);
  }

  #count(
    { method = "" }: IncomingMessage,
    main: Route,
    target: Target | Refusal,
    status: number,
    began: number,
  ): void {
    const { host, path, namespace, ingress, backend } = main;
    const canary = "route" in target && target.route !== main ? nameOf(target.route) : "";
    this.#options.metrics.count(
      {
        host,
        path,
        namespace,
        ingress: ingress.slice(namespace.length + 1),
        service: backend.service?.name ?? "",
        canary,
        method,
        status,
      },
      (performance.now() - began) / 1000,
    );
  }

  #forward(
    request: IncomingMessage,
    response: ServerResponse,
    { endpoint, route }: Target,
    secure: boolean,
  ): void {
    const forward = httpRequest({
      agent: this.#agent,
      host: endpoint.address,
      port: endpoint.port,
      method: request.method,
      path: request.url,
      headers: forwardedHeaders(request, secure),
      setHost: false,
    });
    const onClose = () => {
      if (!response.writableFinished) forward.destroy();
    };
    forward.on("response", (reply) => {
      response.writeHead(reply.statusCode ?? 502, reply.statusMessage, endToEnd(reply.rawHeaders));
      reply.pipe(response);
      reply.on("error", () => response.destroy());
    });
    forward.on("error", (error) => {
      response.off("close", onClose);
      // A kept connection that the pod had just closed: nothing has been answered, and these may be asked twice.
      const again = forward.reusedSocket && ["GET", "HEAD", "OPTIONS"].includes(request.method ?? "");
      if (response.headersSent || response.destroyed) response.destroy();
      else if (again && isErrno(error, "ECONNRESET", "EPIPE")) {
        this.#forward(request, response, { endpoint, route }, secure);
      } else answer(response, 502, `${describe(route)} did not answer: ${messageOf(error)}`);
    });
    response.on("close", onClose);
    request.pipe(forward);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, secure: boolean): void {
    const { main, target } = this.#target(request);
    const began = performance.now();
    const end = (status: number) => {
      if (main !== undefined) this.#count(request, main, target, status, began);
    };
    socket.on("error", () => socket.destroy());
    if ("status" in target) {
      end(target.status);
      socket.end(
        `HTTP/1.1 ${target.status} Unavailable\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n${target.text}\n`,
      );
      return;
    }
    const { endpoint } = target;
    this.#options.dial(endpoint.address, endpoint.port).then(
      (connection) => {
        const headers = {
          ...forwardedHeaders(request, secure),
          connection: "Upgrade",
          upgrade: request.headers.upgrade ?? "websocket",
        };
        const lines = Object.entries(headers).flatMap(([name, value]) =>
          [value].flat().map((one) => `${name}: ${one}`),
        );
        connection.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
        if (head.length > 0) connection.write(head);
        connection.on("error", () => socket.destroy());
        connection.on("close", () => socket.destroy());
        socket.on("close", () => {
          connection.destroy();
          end(101);
        });
        connection.pipe(socket);
        socket.pipe(connection);
      },
      () => {
        end(502);
        socket.end("HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n");
      },
    );
  }

  /** Where the request goes, and the route that it is for: another than the target's where that is a canary. */
  #target(request: IncomingMessage): { main?: Route; target: Target | Refusal } {
    const host = request.headers.host ?? "";
    // Node takes the first of several, and whoever comes after may take another (RFC 9112 section 3.2).
    const hosts = request.rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === "host");
    if (hosts.length > 1)
      return { target: { status: 400, text: "the request has more than one Host header" } };
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const main = findRoute(this.#options.routes(), host, path);
    if (main === undefined)
      return { target: { status: 404, text: `no Ingress rule for http://${host}${path}` } };
    const { canary } = main;
    if (canary !== undefined && goesToCanary(canary.rule, request.headers, Math.random)) {
      const target = this.#endpointOf(canary.route);
      // As in ingress-nginx, a canary that cannot answer gets nothing.
      if ("endpoint" in target) return { main, target };
    }
    return { main, target: this.#endpointOf(main) };
  }

  #endpointOf(route: Route): Target | Refusal {
    const endpoints = this.#options.endpoints(route);
    if (endpoints === undefined) {
      return { status: 503, text: `${describe(route)} does not exist (Ingress ${route.ingress})` };
    }
    const turn = this.#turns.get(describe(route)) ?? 0;
    const endpoint = endpoints[turn % Math.max(1, endpoints.length)];
    if (endpoint === undefined) return { status: 503, text: `${describe(route)} has no ready endpoints` };
    this.#turns.set(describe(route), turn + 1);
    return { endpoint, route };
  }
}

function nameOf({ namespace, backend }: Route): string {
  const port = backend.service?.port;
  return `${namespace}-${backend.service?.name ?? ""}-${port?.name ?? port?.number ?? ""}`;
}

function describe({ namespace, backend }: Route): string {
  const port = backend.service?.port;
  return `Service ${namespace}/${backend.service?.name ?? "?"} port ${port?.name ?? port?.number ?? "?"}`;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(`${text}\n`);
}

function forwardedHeaders(request: IncomingMessage, secure: boolean): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  // What Connection names ends here too, except what says where a request goes and where it ends.
  const named = new Set((request.headers.connection ?? "").toLowerCase().split(/[\s,]+/));
  for (const kept of ["host", "content-length"]) named.delete(kept);
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !hopByHop.has(name) && !named.has(name)) headers[name] = value;
  }
  // A length or, without one, chunks: whichever the client used.
  if (request.headers["transfer-encoding"] !== undefined) headers["transfer-encoding"] = "chunked";
  const from = request.socket.remoteAddress ?? "127.0.0.1";
  const host = request.headers.host ?? "";
  const before = request.headers["x-forwarded-for"];
  headers["x-forwarded-for"] = before === undefined ? from : `${[before].flat().join(", ")}, ${from}`;
  headers["x-real-ip"] = from;
  headers["x-forwarded-host"] = host;
  headers["x-forwarded-proto"] = secure ? "https" : "http";
  headers["x-forwarded-port"] = /:(\d+)$/.exec(host)?.[1] ?? (secure ? "443" : "80");
  return headers;
}

/** Raw pairs, so that repeated headers and their spelling stay. */
function endToEnd(raw: string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? "";
    if (!hopByHop.has(name.toLowerCase())) kept.push(name, raw[at + 1] ?? "");
  }
  return kept;
}

/** The agent tunes its sockets; other duplex streams have nothing to tune. */
function withSocketMethods(connection: Duplex): Duplex {
  const stand = connection as Duplex & Record<string, unknown>;
  for (const method of ["setKeepAlive", "setNoDelay", "setTimeout", "ref", "unref"]) {
    stand[method] ??= () => connection;
  }
  // One that was handed over paused would stay so: the HTTP client only listens.
  connection.resume();
  return connection;
}

/** Binds to 127.0.0.1, trying the second port and then up to 100 upwards from the first where that is taken. */
export async function listenFrom(server: NetServer, from: number, second?: number): Promise<number> {
  const others = Array.from({ length: 100 }, (_, index) => from + 1 + index);
  for (const port of [from, ...(second === undefined ? [] : [second]), ...others]) {
    try {
      await listenOn(server, port);
      return (server.address() as AddressInfo).port;
    } catch (error) {
      if (!isErrno(error, "EADDRINUSE", "EACCES") || from === 0) throw error;
    }
  }
  throw new UserError(`no port of 127.0.0.1 from ${from} to ${from + 100} is free for the Ingress`, {
    fix: "Give another one to start from: kws cluster start --ingress-port.",
  });
}

export async function listenOn(server: NetServer, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, "127.0.0.1", () => {
    server.off("error", reject);
    resolve();
  });
  await promise;
}
