/**
 * A proxy on this machine's loopback address that knows the cluster's names: SOCKS5 with names (RFC 1928) and HTTP (CONNECT, and
 * requests with a whole URL), on one port. Whatever is no Service of the cluster is reached from this machine.
 */
import { once } from "node:events";
import { createServer as createHttp, type IncomingMessage, type Server as HttpServer } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import type { Duplex } from "node:stream";
import { services } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { serviceOf } from "../services/workloads.ts";
import type { Target } from "./backends.ts";
import type { Cluster } from "./cluster.ts";
import { type Forward, openForward } from "./forward.ts";
import { exchange, fail, headOf } from "./proxy/http.ts";
import { dialTcp, splice } from "./proxy/splice.ts";
import { acceptSocks, socksVersion } from "./socks.ts";

export interface LocalProxy extends AsyncDisposable {
  port: number;
}

export interface LocalProxyOptions {
  cluster: Cluster;
  /** Of Services that are named without theirs. */
  namespace: string;
  signal: AbortSignal;
}

type Dial = (host: string, port: number) => Promise<Duplex>;

export async function openLocalProxy(options: LocalProxyOptions): Promise<LocalProxy> {
  const { signal } = options;
  const forwards = new Map<string, Promise<Forward>>();
  const open = new Set<Duplex>();
  let closed = false;
  const track = <Connection extends Duplex>(connection: Connection): Connection => {
    open.add(connection);
    connection.once("close", () => open.delete(connection));
    if (closed) connection.destroy();
    return connection;
  };
  const dial: Dial = async (host, port) => {
    const target = await findTarget(host, port, options);
    if (closed) throw new Error("the proxy is closed");
    if (target === undefined) return track(await dialTcp(host, port));
    const key = `${target.namespace}/${target.kubeService}:${port}`;
    const rest = { address: "127.0.0.1", localPort: 0, preferred: port, signal, onState: () => {} };
    const forward = forwards.get(key) ?? openForward({ cluster: options.cluster, target, ...rest });
    forwards.set(key, forward);
    return track(await dialTcp("127.0.0.1", (await forward).port));
  };
  const http = httpServer(dial);
  const server = createServer({ allowHalfOpen: true }, (client) => {
    track(client).on("error", () => client.destroy());
    client.once("data", (first: Buffer) => {
      client.pause();
      client.unshift(first);
      if (first[0] === socksVersion) void acceptSocks(client, dial);
      else {
        http.emit("connection", client);
        client.resume();
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      closed = true;
      const over = new Promise((resolve) => server.close(resolve));
      for (const connection of open) connection.destroy();
      await over;
      for (const forward of await Promise.allSettled(forwards.values()))
        if (forward.status === "fulfilled") await forward.value[Symbol.asyncDispose]();
    },
  };
}

/** The Service of that name, as pods of the namespace would write it; undefined where there is none. */
async function findTarget(
  host: string,
  port: number,
  { cluster, namespace: own, signal }: LocalProxyOptions,
): Promise<Target | undefined> {
  const [name = "", namespace = own, ...rest] = host
    .replace(/\.$/, "")
    .replace(/\.svc(\.cluster\.local)?$/, "")
    .split(".");
  // An address, or a name of elsewhere.
  if (rest.length > 0 || !/^[a-z][a-z0-9-]*$/.test(name)) return undefined;
  try {
    const object = await cluster.client.get(services, name, namespace, { signal });
    return { service: serviceOf(object) ?? name, namespace, kubeService: name, port };
  } catch (error) {
    if (isApiError(error, "NotFound", "Forbidden")) return undefined;
    throw error;
  }
}

function httpServer(dial: Dial): HttpServer {
  const server = createHttp({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 });
  server.on("request", (incoming, outgoing) => {
    const place = placeOf(incoming);
    if (place === undefined) fail(outgoing);
    else
      dial(place.host, place.port)
        .then((remote) => exchange(incoming, outgoing, remote))
        .catch(() => fail(outgoing));
  });
  server.on("connect", (incoming: IncomingMessage, client: Duplex, head: Buffer) => {
    incoming.url = `http://${incoming.url}`;
    join(incoming, client, dial, (remote) => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      remote.write(head);
    });
  });
  server.on("upgrade", (incoming: IncomingMessage, client: Duplex, head: Buffer) => {
    join(incoming, client, dial, (remote) => {
      remote.write(headOf(incoming));
      remote.write(head);
    });
  });
  return server;
}

/** Where a request with a whole URL goes; it keeps the path alone, as the server itself would be asked. */
function placeOf(incoming: IncomingMessage): { host: string; port: number } | undefined {
  const url = URL.parse(incoming.url ?? "");
  if (url?.protocol !== "http:") return undefined;
  incoming.url = `${url.pathname}${url.search}`;
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(url.port || 80) };
}

/** Two connections made into one. */
function join(incoming: IncomingMessage, client: Duplex, dial: Dial, begin: (remote: Duplex) => void): void {
  const refuse = () => client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
  const place = placeOf(incoming);
  if (place === undefined) {
    refuse();
    return;
  }
  dial(place.host, place.port).then((remote) => {
    begin(remote);
    splice(client, remote);
  }, refuse);
}

/** Variables that programs look for a proxy in; both spellings are in use. */
export function proxyVariables({ port }: LocalProxy): Record<string, string> {
  const http = `http://127.0.0.1:${port}`;
  const variables = {
    HTTP_PROXY: http,
    HTTPS_PROXY: http,
    ALL_PROXY: `socks5h://127.0.0.1:${port}`,
    NO_PROXY: "localhost,127.0.0.0/8,::1",
  };
  return {
    ...variables,
    ...Object.fromEntries(Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value])),
    // https://nodejs.org/api/cli.html#node_use_env_proxy1
    NODE_USE_ENV_PROXY: "1",
  };
}
