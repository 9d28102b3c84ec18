/**
 * HTTP/1.1 of which only the requests with certain headers go to the laptop. What is no HTTP/1.1, such as TLS and HTTP/2, is
 * passed on as it is.
 */
import { createServer, type IncomingMessage, request as send, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { splice } from "./splice.ts";

export interface Routes {
  /** Undefined where the laptop does not take it. */
  laptop(): Promise<Duplex | undefined>;
  original(): Promise<Duplex>;
}

/** By lower-case name; all have to match. */
export type HeaderMatch = Record<string, string>;

const maxHeaderSize = 256 * 1024;
const methods = /^[A-Z-]{1,32} /;
const http2Preface = "PRI * HTTP/2";

export function matchHeaders(headers: IncomingMessage["headers"], wanted: HeaderMatch): boolean {
  return Object.entries(wanted).every(([name, value]) => String(headers[name] ?? "") === value);
}

/** Answers what handles a connection. */
export function httpRouter(wanted: HeaderMatch, routes: Routes): (client: Socket) => void {
  const server = createServer({
    maxHeaderSize,
    insecureHTTPParser: true,
    requestTimeout: 0,
    headersTimeout: 0,
    keepAliveTimeout: 0,
  });
  const choose = async (incoming: IncomingMessage) =>
    (matchHeaders(incoming.headers, wanted) ? await routes.laptop() : undefined) ?? routes.original();
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    outgoing.sendDate = false;
    choose(incoming).then(
      (remote) => exchange(incoming, outgoing, remote),
      () => fail(outgoing),
    );
  };
  const onUpgrade = (incoming: IncomingMessage, client: Duplex, head: Buffer) => {
    choose(incoming).then(
      (remote) => {
        remote.write(headOf(incoming));
        remote.write(head);
        splice(client, remote);
      },
      () => client.destroy(),
    );
  };
  server.on("request", onRequest);
  server.on("checkContinue", onRequest);
  server.on("checkExpectation", onRequest);
  server.on("upgrade", onUpgrade);
  server.on("connect", onUpgrade);
  return (client) => {
    client.once("data", (first: Buffer) => {
      client.pause();
      client.unshift(first);
      const text = first.toString("latin1");
      if (methods.test(text) && !text.startsWith(http2Preface)) {
        server.emit("connection", client);
        client.resume();
        return;
      }
      routes.original().then(
        (remote) => splice(client, remote),
        () => client.destroy(),
      );
    });
  };
}

/** Of this connection alone (RFC 9110, 7.6.1). */
const hopByHop = new Set(["connection", "keep-alive", "proxy-connection"]);

/** One request and its answer. */
export function exchange(incoming: IncomingMessage, outgoing: ServerResponse, remote: Duplex): void {
  const { method = "GET", url = "/" } = incoming;
  const request = send({
    method,
    path: url,
    headers: endToEnd(incoming.rawHeaders),
    setHost: false,
    setDefaultHeaders: false,
    insecureHTTPParser: true,
    maxHeaderSize,
    createConnection: () => remote,
  });
  request.on("continue", () => outgoing.writeContinue());
  request.on("response", (response) => {
    outgoing.writeHead(response.statusCode ?? 502, response.statusMessage, endToEnd(response.rawHeaders));
    response.pipe(outgoing, { end: false });
    response.once("end", () => {
      const trailers = pairs(response.rawTrailers);
      if (trailers.length > 0) outgoing.addTrailers(trailers);
      outgoing.end();
    });
    response.once("error", () => outgoing.destroy());
  });
  request.on("error", () => fail(outgoing));
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) remote.destroy();
  });
  incoming.pipe(request);
}

export function fail(outgoing: ServerResponse): void {
  if (outgoing.headersSent) outgoing.destroy();
  else outgoing.writeHead(502, { "content-type": "text/plain" }).end("the service does not answer\n");
}

function pairs(raw: string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, index) => [
    raw[2 * index] ?? "",
    raw[2 * index + 1] ?? "",
  ]);
}

/** As they came, each a name and a value; one list, as Node takes them where names repeat. */
function endToEnd(raw: string[]): string[] {
  return pairs(raw)
    .filter(([name]) => !hopByHop.has(name.toLowerCase()))
    .flat();
}

/** A request's first line and headers, as they came. */
export function headOf({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = pairs(rawHeaders).map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${url} HTTP/1.1`, ...lines, "", ""].join("\r\n");
}
