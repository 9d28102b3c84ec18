/** An upgraded request from its head to its protocol: who asks, for which pod, and in which of the protocols it offers. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { KubeObject } from "@kws/kube/object";
import { createWebSocketStream, WebSocketServer, type WebSocket } from "ws";
import type { ServerContext } from "../context.ts";
import { admitConnection } from "../connections.ts";
import { badRequest, noSuchPath } from "../failures.ts";
import { attributesOf, authorize } from "../handler.ts";
import { effectiveUser } from "../impersonation.ts";
import { logOptions, nodeStreams } from "../podsubresources.ts";
import { storedAt } from "../reads.ts";
import { parseResourcePath, type User } from "../request.ts";
import { execOptions, execOverSpdy, execOverWebSocket, startSession } from "./exec.ts";
import { portForwardOverSpdy, portForwardOverWebSocket } from "./portforward.ts";

const execProtocols = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];
const spdyExecProtocols = ["v4.channel.k8s.io"];
const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";
const portProtocols = [tunnelProtocol, "v4.channel.k8s.io", "portforward.k8s.io"];
const interactive = new Set(["exec", "attach", "portforward"]);
const logProtocols = ["binary.k8s.io"];

/** Throws what refuses the upgrade. */
export async function openSession(
  context: ServerContext,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  whoIs: () => User,
): Promise<void> {
  const [pathname = "", ...rest] = (incoming.url ?? "/").split("?");
  const path = parseResourcePath(pathname);
  const subresource = path?.subresource ?? "";
  if (path === undefined || path.group !== "" || path.resource !== "pods" || path.name === undefined)
    throw noSuchPath();
  const headers = incoming.headers as Record<string, string | undefined>;
  const user = effectiveUser(context.authorizer, { user: whoIs(), headers });
  authorize(context, { user }, attributesOf(path, incoming.method === "POST" ? "create" : "get"));
  // As upstream: a WebSocket begins with GET, and whoever may only read must not run commands with it.
  if (interactive.has(subresource)) authorize(context, { user }, attributesOf(path, "create"));
  const definition = context.registry.find(path);
  if (definition === undefined) throw noSuchPath();
  const pod = storedAt(context, { definition, path }).object;
  const query = new URLSearchParams(rest.join("?"));
  if (interactive.has(subresource)) {
    const { name, namespace } = path;
    await admitConnection(context, definition, { name, namespace, subresource }, user, query);
  }
  const request: Upgrade = {
    context,
    incoming,
    socket,
    head,
    query,
    pod,
    subresource,
  };
  const protocol = (incoming.headers.upgrade ?? "").toLowerCase();
  if (protocol === "websocket") return openWebSocket(request);
  if (protocol === "spdy/3.1") return openSpdy(request);
  throw badRequest(`unable to upgrade: the protocol "${protocol}" is not supported`);
}

interface Upgrade {
  context: ServerContext;
  incoming: IncomingMessage;
  socket: Duplex;
  head: Buffer;
  query: URLSearchParams;
  pod: KubeObject;
  subresource: string;
}

async function openWebSocket(upgrade: Upgrade): Promise<void> {
  const { context, query, pod, subresource } = upgrade;
  const streams = nodeStreams(context);
  if (subresource === "exec" || subresource === "attach") {
    const options = execOptions(query);
    const session = await startSession(streams, pod, subresource, options);
    const socket = await accept(upgrade, execProtocols).catch((error: unknown) => {
      session.close();
      throw error;
    });
    return execOverWebSocket(socket, session, options);
  }
  if (subresource === "portforward") {
    const dial = (port: number) => streams.portForward(pod, port);
    const socket = await accept(upgrade, portProtocols);
    if (socket.protocol === tunnelProtocol) return portForwardOverSpdy(createWebSocketStream(socket), dial);
    const ports = query
      .getAll("ports")
      .flatMap((text) => text.split(","))
      .map(Number);
    return portForwardOverWebSocket(socket, ports, dial);
  }
  if (subresource === "log") {
    const gone = new AbortController();
    const body = await streams.logs(pod, { ...logOptions(query), signal: gone.signal });
    const socket = await accept(upgrade, logProtocols);
    socket.on("close", () => gone.abort());
    for await (const chunk of body) socket.send(chunk);
    return socket.close(1000);
  }
  throw noSuchPath();
}

/** Answers the handshake with the first protocol of ours that the client offers. */
function accept({ incoming, socket, head }: Upgrade, known: string[]): Promise<WebSocket> {
  const offered = (incoming.headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");
  const chosen = known.find((one) => offered.includes(one));
  if (chosen === undefined && offered.length > 0) {
    throw badRequest(`unable to upgrade: none of the subprotocols ${offered.join(", ")} is supported`);
  }
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    handleProtocols: () => chosen ?? false,
  });
  return new Promise((resolve) => server.handleUpgrade(incoming, socket, head, resolve));
}

function openSpdy(upgrade: Upgrade): void {
  const { context, query, pod, subresource } = upgrade;
  const streams = nodeStreams(context);
  if (subresource === "exec" || subresource === "attach") {
    const options = execOptions(query);
    const connection = switchToSpdy(upgrade, spdyExecProtocols);
    return execOverSpdy(connection, options, () => startSession(streams, pod, subresource, options));
  }
  if (subresource !== "portforward") throw noSuchPath();
  portForwardOverSpdy(switchToSpdy(upgrade, ["portforward.k8s.io"]), (port) =>
    streams.portForward(pod, port),
  );
}

function switchToSpdy({ incoming, socket, head }: Upgrade, known: string[]): Duplex {
  const offered = String(incoming.headers["x-stream-protocol-version"] ?? "")
    .split(",")
    .map((one) => one.trim());
  const chosen = known.find((one) => offered.includes(one));
  if (chosen === undefined)
    throw badRequest(`unable to upgrade: none of the protocols ${offered.join(", ")} is supported`);
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
      `X-Stream-Protocol-Version: ${chosen}\r\n\r\n`,
  );
  if (head.length > 0) socket.unshift(head);
  return socket;
}
