/**
 * The Service proxy: listens on each Service address and port inside the cluster's network and passes connections on to
 * ready endpoints. A port without endpoints has no listener, so that connections to it are refused at once. Connections
 * that stand are left alone when the state changes, as kube-proxy does.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Logger } from "@kws/base/logger";
import { addresses, type ServiceEntry, type ServicePort } from "./state.ts";

interface Endpoint {
  address: string;
  port: number;
}

/** Which endpoints a port leads to; changed in place under a listener that stays. */
interface Target {
  endpoints: Endpoint[];
  next: number;
  affinitySeconds: number | undefined;
  affinity: Map<string, { endpoint: Endpoint; until: number }>;
}

interface Listener {
  target: Target;
  close(): void;
}

/** The port of the API server on the node. */
const apiServerPort = 6443;
const connectTimeoutMs = 5000;
const udpIdleMs = 60_000;

export class ServiceProxy {
  readonly #logger: Logger;
  readonly #listeners = new Map<string, Promise<Listener | undefined>>();
  #apiServers: Server[] = [];
  #apiServerPath = "";

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Resolves once every new port listens. */
  async apply(services: ServiceEntry[]): Promise<void> {
    const wanted = new Map<string, { service: ServiceEntry; port: ServicePort }>();
    for (const service of services) {
      for (const port of service.ports) {
        if (service.clusterIP === addresses.apiServer && port.port === 443) continue;
        if (service.clusterIP === addresses.dns && port.port === 53) continue;
        if (port.endpoints.length === 0) continue;
        wanted.set(`${port.protocol} ${service.clusterIP} ${port.port}`, { service, port });
      }
    }
    for (const [key, listener] of this.#listeners) {
      if (wanted.has(key)) continue;
      this.#listeners.delete(key);
      void listener.then((open) => open?.close());
    }
    await Promise.all(
      [...wanted].map(async ([key, { service, port }]) => {
        const open = this.#listeners.get(key);
        if (open) {
          const target = (await open)?.target;
          if (target) update(target, service, port);
          return;
        }
        const target: Target = { endpoints: [], next: 0, affinitySeconds: undefined, affinity: new Map() };
        update(target, service, port);
        const listen = port.protocol === "TCP" ? listenTcp : listenUdp;
        const opening = listen(service.clusterIP, port.port, target).catch((error: unknown) => {
          this.#listeners.delete(key);
          this.#logger.warn("cannot listen for a Service", {
            service: service.key,
            port: port.port,
            error: String(error),
          });
          return undefined;
        });
        this.#listeners.set(key, opening);
        await opening;
      }),
    );
  }

  /** Pipes the address of `default/kubernetes`, and of its endpoint on the node, to the API server's Unix socket. */
  async setApiServer(path: string): Promise<void> {
    this.#apiServerPath = path;
    if (this.#apiServers.length > 0) return;
    const pipe = (): Server =>
      createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
        joinSockets(client, connect({ path: this.#apiServerPath, allowHalfOpen: true }));
      });
    const [service, endpoint] = [pipe(), pipe()];
    this.#apiServers = [service, endpoint];
    await Promise.all([
      listening(service, addresses.apiServer, 443),
      listening(endpoint, addresses.node, apiServerPort),
    ]);
  }
}

function update(target: Target, service: ServiceEntry, port: ServicePort): void {
  target.endpoints = port.endpoints;
  target.affinitySeconds = service.sessionAffinitySeconds;
  if (service.sessionAffinitySeconds === undefined) target.affinity.clear();
  const present = new Set(port.endpoints.map(name));
  for (const [client, { endpoint }] of target.affinity)
    if (!present.has(name(endpoint))) target.affinity.delete(client);
}

/** Endpoints in the order in which to try them. */
function candidates(target: Target, client: string): Endpoint[] {
  const { endpoints, affinity } = target;
  const start = target.next++ % Math.max(endpoints.length, 1);
  const order = [...endpoints.slice(start), ...endpoints.slice(0, start)];
  const sticky = target.affinitySeconds === undefined ? undefined : affinity.get(client);
  if (!sticky || sticky.until < Date.now()) return order;
  return [sticky.endpoint, ...order.filter((endpoint) => name(endpoint) !== name(sticky.endpoint))];
}

function remember(target: Target, client: string, endpoint: Endpoint): void {
  if (target.affinitySeconds === undefined) return;
  target.affinity.set(client, { endpoint, until: Date.now() + target.affinitySeconds * 1000 });
}

async function listenTcp(address: string, port: number, target: Target): Promise<Listener> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
    const from = client.remoteAddress ?? "";
    client.on("error", () => client.destroy());
    void connectFirst(candidates(target, from)).then((found) => {
      if (!found || client.destroyed) {
        found?.socket.destroy();
        client.resetAndDestroy();
        return;
      }
      remember(target, from, found.endpoint);
      joinSockets(client, found.socket);
      client.resume();
    });
  });
  await listening(server, address, port);
  return { target, close: () => server.close() };
}

/** The first endpoint that takes the connection: one that has just died must not cost the client its request. */
async function connectFirst(order: Endpoint[]): Promise<{ socket: Socket; endpoint: Endpoint } | undefined> {
  for (const endpoint of order) {
    const socket = connect({
      host: endpoint.address,
      port: endpoint.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    const connected = await new Promise<boolean>((resolve) => {
      socket.setTimeout(connectTimeoutMs, () => resolve(false));
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.setTimeout(0);
    if (connected) return { socket, endpoint };
    socket.destroy();
  }
  return undefined;
}

/** Connects two sockets in both directions, half-closing as they do, until both are done or one fails. */
export function joinSockets(a: Socket, b: Socket): void {
  a.on("error", () => b.destroy());
  b.on("error", () => a.destroy());
  a.on("close", () => b.destroySoon());
  b.on("close", () => a.destroySoon());
  a.pipe(b);
  b.pipe(a);
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function listenUdp(address: string, port: number, target: Target): Promise<Listener> {
  const server = createSocket("udp4");
  const flows = new Map<string, { socket: UdpSocket; timer: NodeJS.Timeout }>();
  server.on("message", (message, from) => {
    const client = `${from.address}:${from.port}`;
    let flow = flows.get(client);
    if (!flow) {
      const [endpoint] = candidates(target, from.address);
      if (!endpoint) return;
      remember(target, from.address, endpoint);
      const socket = createSocket("udp4");
      const end = () => {
        flows.delete(client);
        socket.close();
      };
      flow = { socket, timer: setTimeout(end, udpIdleMs) };
      flows.set(client, flow);
      // A refused datagram ends the flow, so that the client's next one goes to another endpoint.
      socket.on("error", () => {
        clearTimeout(flows.get(client)?.timer);
        if (flows.get(client)?.socket === socket) end();
      });
      socket.on("message", (answer) => {
        flows.get(client)?.timer.refresh();
        server.send(answer, from.port, from.address);
      });
      socket.connect(endpoint.port, endpoint.address);
      socket.once("connect", () => socket.send(message));
      return;
    }
    flow.timer.refresh();
    const { socket } = flow;
    try {
      socket.send(message);
    } catch {
      socket.once("connect", () => socket.send(message)); // Its first datagram is still on the way out.
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.bind({ address, port }, () => {
      server.off("error", reject);
      server.on("error", () => undefined); // An answer to a client that is gone.
      resolve();
    });
  });
  return {
    target,
    close() {
      server.close();
      for (const { socket, timer } of flows.values()) {
        clearTimeout(timer);
        socket.close();
      }
      flows.clear();
    },
  };
}

function name({ address, port }: Endpoint): string {
  return `${address}:${port}`;
}
