import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server } from "node:http";
import { connect, createServer as createNetServer, type AddressInfo } from "node:net";
import { connect as connectTls } from "node:tls";
import { silent } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import {
  endpointSlices,
  events,
  ingressClasses,
  ingresses,
  networkPolicies,
  secrets,
  services,
} from "@kws/kube/resources";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startTestServer, type TestServer } from "../apiserver/testing/server.ts";
import { selfSigned } from "./certificates.ts";
import { startNetwork, type Network } from "./controller.ts";
import type { NetworkState } from "./state.ts";

let api: TestServer;
let client: KubeClient;
let network: Network;
let backend: Server;
let applied: NetworkState[];
let stop: AbortController;

beforeEach(async () => {
  stop = new AbortController();
  api = await startTestServer();
  client = api.client;
  applied = [];
  backend = createServer((incoming, response) => {
    response.setHeader("x-seen", JSON.stringify(incoming.headers));
    incoming.pipe(response);
  });
  backend.on("upgrade", (_, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    socket.pipe(socket);
  });
  backend.listen(0, "127.0.0.1");
  await once(backend, "listening");
  network = await startNetwork({
    client,
    dataplane: {
      async apply(state) {
        applied.push(state);
        return state.policies.isolations.length === 0 ? undefined : "there is no nft";
      },
    },
    runtime: {
      // Pods' addresses stand for the one backend on the host.
      async dial() {
        const socket = connect((backend.address() as AddressInfo).port, "127.0.0.1");
        await once(socket, "connect");
        return socket;
      },
    },
    ingress: { port: 0, tlsPort: 0, certificate: await certificateFor("localhost") },
    logger: silent,
    now: Date.now,
    signal: stop.signal,
  });
});

afterEach(async () => {
  await network.close();
  stop.abort();
  backend.closeAllConnections();
  backend.close();
  await api.close();
});

const certificateFor = (...names: string[]) => selfSigned(names, Date.now());

async function createService(name: string, spec: object, addresses: string[]): Promise<void> {
  const metadata = { name, namespace: "default" };
  await client.create(services, { apiVersion: "v1", kind: "Service", metadata, spec });
  await client.create(endpointSlices, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { ...metadata, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    ports: [{ name: "", port: 3000, protocol: "TCP" }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  });
}

async function createIngress(name: string, service: string): Promise<void> {
  const backend = { service: { name: service, port: { number: 80 } } };
  await client.create(ingresses, {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name, namespace: "default" },
    spec: {
      rules: [{ host: `${name}.localhost`, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
    },
  });
}

async function fetchFrom(
  host: string,
  body = "",
): Promise<{ status: number | undefined; text: string; headers: IncomingMessage["headers"] }> {
  const outgoing = request({
    port: network.ingress.port,
    host: "127.0.0.1",
    method: "POST",
    headers: { host },
  });
  outgoing.end(body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of incoming) text += String(chunk);
  return { status: incoming.statusCode, text, headers: incoming.headers };
}

const web = { clusterIP: "10.96.0.5", ports: [{ port: 80, protocol: "TCP" }] };

test("the data plane learns of Services and the default IngressClass stands", async () => {
  await createService("web", web, ["10.244.0.2"]);
  await vi.waitFor(() =>
    expect(
      applied.at(-1)?.services.flatMap(({ ports }) => ports.flatMap((port) => port.endpoints)),
    ).toContainEqual({
      address: "10.244.0.2",
      port: 3000,
    }),
  );
  const found = await client.get(ingressClasses, "kws");
  expect(found.metadata.annotations?.["ingressclass.kubernetes.io/is-default-class"]).toBe("true");
});

test("a request reaches the Service of its host, and says where it came from", async () => {
  await createService("web", web, ["10.244.0.2"]);
  await createIngress("web", "web");
  const answer = await vi.waitFor(async () => {
    const answer = await fetchFrom("web.localhost:8080", "ping");
    expect(answer.status).toBe(200);
    return answer;
  });
  expect(answer.text).toBe("ping");
  expect(JSON.parse(String(answer.headers["x-seen"]))).toMatchObject({
    host: "web.localhost:8080",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "web.localhost:8080",
    "x-forwarded-proto": "http",
    "x-forwarded-port": "8080",
  });
  await vi.waitFor(async () => {
    const ingress: KubeObject = await client.get(ingresses, "web", "default");
    expect(ingress["status"].loadBalancer.ingress).toEqual([{ ip: "127.0.0.1", hostname: "localhost" }]);
  });
});

test("a canary answers those whose header asks for it, while it can, and what was served is counted", async () => {
  await createService("web", web, ["10.244.0.2"]);
  await createService("next", { ...web, clusterIP: "10.96.0.6" }, ["10.244.0.3"]);
  await createService("none", { ...web, clusterIP: "10.96.0.7" }, []);
  const backendOf = (name: string) => ({ service: { name, port: { number: 80 } } });
  const create = (name: string, service: string, path: string, annotations = {}) =>
    client.create(ingresses, {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: { name, namespace: "default", annotations },
      spec: {
        rules: [
          {
            host: "web.localhost",
            http: { paths: [{ path, pathType: "Prefix", backend: backendOf(service) }] },
          },
        ],
      },
    });
  const annotations = {
    "nginx.ingress.kubernetes.io/canary": "true",
    "nginx.ingress.kubernetes.io/canary-by-header": "x-next",
  };
  await create("web", "web", "/");
  await create("next", "next", "/", annotations);
  await create("stay", "web", "/stay");
  await create("gone", "none", "/stay", annotations);
  const ask = async (path: string, next: string) => {
    const headers = { host: "web.localhost", "x-next": next };
    const outgoing = request({ port: network.ingress.port, host: "127.0.0.1", path, headers });
    outgoing.end();
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    incoming.resume();
    await once(incoming, "end");
    return incoming.statusCode;
  };
  const counted = (text: string) =>
    network.ingress.metrics
      .text()
      .split("\n")
      .filter((line) => line.startsWith("nginx_ingress_controller_requests{") && line.includes(text));
  await vi.waitFor(async () => {
    expect(await ask("/", "always")).toBe(200);
    expect(counted('canary="default-next-80"')).toHaveLength(1);
  }, 20_000);
  await vi.waitFor(async () => {
    expect(await ask("/stay", "always")).toBe(200);
    expect(counted('path="/stay"')).toHaveLength(1);
  }, 20_000);
  expect(counted('path="/stay"')[0]).toContain('canary=""');
  expect(await ask("/", "never")).toBe(200);
  await vi.waitFor(() => {
    expect(counted('path="/"').map((line) => line.replace(/ \d+$/, ""))).toContain(
      'nginx_ingress_controller_requests{host="web.localhost",path="/",namespace="default",ingress="web",service="web",canary="",method="GET",status="200"}',
    );
  }, 20_000);
});

test("the data plane learns of NetworkPolicies, and where it cannot enforce one an Event says so", async () => {
  await client.create(networkPolicies, {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "deny", namespace: "default" },
    spec: { podSelector: {} },
  });
  await vi.waitFor(async () => {
    expect(applied.at(-1)?.policies.isolations).toEqual([{ direction: "ingress", pods: [], allowed: [] }]);
    const { items } = await client.list(events, "default");
    expect(items.map((event) => [event["reason"], event["message"]])).toContainEqual([
      "NotEnforced",
      "the policy is kept and not enforced: there is no nft",
    ]);
  });
});

async function raw(text: string): Promise<string> {
  const socket = connect(network.ingress.port, "127.0.0.1");
  socket.write(text);
  let answer = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (answer += chunk));
  await once(socket, "close");
  return answer;
}

test("requests that could be read in two ways are refused", async () => {
  await createService("web", web, ["10.244.0.5"]);
  await createIngress("web", "web");
  await vi.waitFor(async () => expect((await fetchFrom("web.localhost")).status).toBe(200));
  const head = "POST / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n";
  for (const lines of [
    "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "Content-Length: 1\r\nContent-Length: 2\r\n\r\nXX",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "Host: other.localhost\r\nContent-Length: 0\r\n\r\n",
  ]) {
    expect([lines, (await raw(head + lines)).split("\r\n")[0]]).toEqual([lines, "HTTP/1.1 400 Bad Request"]);
  }
  expect(await raw(`${head}X-Large: ${"x".repeat(70_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
});

test("what Connection names is not passed on, and the length is", async () => {
  await createService("web", web, ["10.244.0.5"]);
  await createIngress("web", "web");
  await vi.waitFor(async () => expect((await fetchFrom("web.localhost")).status).toBe(200));
  const answer = await raw(
    "POST / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close, X-Hop, Content-Length\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nhi",
  );
  expect(answer).toContain('"x-end":"2"');
  expect(answer).toContain('"content-length":"2"');
  expect(answer).not.toContain("x-hop");
});

test("answers without a backend say what is missing", async () => {
  await createService("empty", web, []);
  await createIngress("empty", "empty");
  await createIngress("absent", "absent");
  await vi.waitFor(async () => {
    expect(await fetchFrom("empty.localhost")).toMatchObject({
      status: 503,
      text: "Service default/empty port 80 has no ready endpoints\n",
    });
    expect((await fetchFrom("absent.localhost")).text).toContain(
      "Service default/absent port 80 does not exist",
    );
  });
  expect(await fetchFrom("other.localhost")).toMatchObject({ status: 404 });
});

test("an upgraded connection carries bytes both ways", async () => {
  await createService("web", web, ["10.244.0.2"]);
  await createIngress("web", "web");
  await vi.waitFor(async () => expect((await fetchFrom("web.localhost")).status).toBe(200));
  const headers = { host: "web.localhost", connection: "Upgrade", upgrade: "websocket" };
  const outgoing = request({ port: network.ingress.port, host: "127.0.0.1", headers });
  outgoing.end();
  const [, socket] = (await once(outgoing, "upgrade")) as [IncomingMessage, import("node:net").Socket];
  socket.write("echo");
  const [data] = (await once(socket, "data")) as [Buffer];
  expect(data.toString()).toBe("echo");
  socket.destroy();
});

test("a NodePort listens on loopback, and a LoadBalancer says so", async () => {
  const probe = createNetServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  await createService("lb", { ...web, type: "LoadBalancer", ports: [{ port, protocol: "TCP" }] }, [
    "10.244.0.2",
  ]);
  await vi.waitFor(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "hi" });
    expect(await answer.text()).toBe("hi");
  });
  const service = await client.get(services, "lb", "default");
  expect(service["status"].loadBalancer.ingress).toEqual([{ ip: "127.0.0.1" }]);
});

async function createTlsSecret(name: string, ...names: string[]): Promise<void> {
  const { cert, key } = await certificateFor(...names);
  await client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/tls",
    metadata: { name, namespace: "default" },
    data: { "tls.crt": btoa(cert), "tls.key": btoa(key) },
  });
}

/** The first name of the certificate that a client sees who asks for the host; for none where it is empty. */
async function certificateOf(host: string): Promise<string | undefined> {
  const socket = connectTls({
    port: network.ingress.tlsPort,
    host: "127.0.0.1",
    rejectUnauthorized: false,
    ...(host === "" ? {} : { servername: host }),
  });
  await once(socket, "secureConnect");
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return [subject.CN].flat()[0];
}

test("the hosts of an Ingress's tls decide which Secret's certificate they are served with", async () => {
  // By their own names, either would do for both hosts.
  await createTlsSecret("first", "first.localhost", "one.localhost", "two.localhost");
  await createTlsSecret("second", "second.localhost", "one.localhost", "two.localhost");
  await createTlsSecret("third", "third.localhost");
  const backend = { service: { name: "web", port: { number: 80 } } };
  const rule = { http: { paths: [{ path: "/", pathType: "Prefix", backend }] } };
  const create = (name: string, spec: object) =>
    client.create(ingresses, {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: { name, namespace: "default" },
      spec,
    });
  await create("named", {
    tls: [
      { hosts: ["one.localhost"], secretName: "first" },
      { hosts: ["two.localhost", "*.wild.localhost"], secretName: "second" },
      { hosts: ["own.localhost"] },
      { hosts: ["absent.localhost"], secretName: "absent" },
    ],
    rules: [{ host: "one.localhost", ...rule }],
  });
  await create("unnamed", {
    tls: [{ secretName: "third" }],
    rules: ["third.localhost", "fourth.localhost", "two.localhost"].map((host) =>
      Object.assign({ host }, rule),
    ),
  });
  const shown = {
    "one.localhost": "first.localhost",
    "ONE.localhost": "first.localhost",
    "two.localhost": "second.localhost",
    "deep.wild.localhost": "second.localhost",
    // Without hosts, a Secret is for those of the rules that stand in its certificate.
    "third.localhost": "third.localhost",
    "fourth.localhost": "localhost",
    // What no Ingress says anything about, what it asks for without a Secret, and a Secret that is not there.
    "other.localhost": "localhost",
    "own.localhost": "localhost",
    "absent.localhost": "localhost",
    "": "localhost",
  };
  await vi.waitFor(
    async () => {
      const seen = Object.keys(shown).map(async (host) => [host, await certificateOf(host)]);
      expect(Object.fromEntries(await Promise.all(seen))).toEqual(shown);
    },
    { timeout: 10_000 },
  );
});
