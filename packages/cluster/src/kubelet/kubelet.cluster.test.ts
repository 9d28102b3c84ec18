import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect as tlsConnect } from "node:tls";
import { createLogger } from "@kws/base/logger";
import { KubeClient } from "@kws/kube/client";
import {
  configMaps,
  endpointSlices,
  events,
  ingresses,
  pods,
  secrets,
  serviceAccounts,
  services,
} from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startApiServer, type ApiServer } from "../apiserver/server.ts";
import { ensureBaseImage } from "../images/base-image.ts";
import { createPuller } from "../images/pull.ts";
import { openImageStore } from "../images/store.ts";
import { resolveUser } from "../images/users.ts";
import { selfSigned } from "../network/certificates.ts";
import { startNetwork, type Network } from "../network/controller.ts";
import { addresses } from "../network/state.ts";
import { startKubelet, type Kubelet, type KubeletOptions } from "./index.ts";
import type { ContainerStatus, Pod, PodContainer } from "./pod.ts";
import { startSandboxRuntime, type SandboxRuntime } from "./runtimes/sandbox/start.ts";

const stop = new AbortController();
const lines: string[] = [];
const logger = createLogger((line) => void lines.push(line), "warn");
let dir: string;
let image: string;
let api: ApiServer;
let client: KubeClient;
let sandbox: SandboxRuntime;
let options: KubeletOptions;
let kubelet: Kubelet;
let network: Network;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "kws-"));
  const images = await openImageStore(join(dir, "images"));
  const node = { path: process.execPath, version: process.versions.node };
  image = (await ensureBaseImage(images, node)).reference;
  const dataDir = join(dir, "data");
  api = await startApiServer({ dataDir, logger, now: Date.now, streams: () => kubelet.streams });
  client = new KubeClient(api.transport());
  sandbox = await startSandboxRuntime({ dataDir, logger, apiServerSocket: api.socketPath });
  const common = { client, logger, now: Date.now, signal: stop.signal };
  options = {
    ...common,
    runtime: sandbox.runtime,
    images,
    pullImage: createPuller(images, {}).pull,
    resolveUser,
    node: { name: "kws", address: addresses.node },
    dataDir,
    apiServerAddress: { host: addresses.apiServer, port: 443 },
  };
  kubelet = await startKubelet(options);
  network = await startNetwork({
    ...common,
    dataplane: sandbox.network,
    runtime: sandbox.runtime,
    ingress: { port: 0, tlsPort: 0, certificate: await selfSigned(["localhost"], Date.now()) },
  });
  for (const [resource, kind, name] of [
    [serviceAccounts, "ServiceAccount", "default"],
    [configMaps, "ConfigMap", "kube-root-ca.crt"],
  ] as const) {
    const data = kind === "ConfigMap" ? { data: { "ca.crt": api.caCertificate } } : {};
    const object = { apiVersion: "v1", kind, metadata: { name, namespace: "default" }, ...data };
    await client.create(resource, object).catch((error: unknown) => {
      if (!isApiError(error, "AlreadyExists")) throw error;
    });
  }
});

afterAll(async () => {
  await network?.close();
  await kubelet?.close();
  await sandbox?.stop();
  await api?.close();
  stop.abort();
  await rm(dir, { recursive: true, force: true });
});

function shell(script: string, more: Partial<PodContainer> = {}): PodContainer {
  return { name: "app", image, command: ["sh", "-c", script], ...more };
}

async function create(
  name: string,
  spec: Partial<Pod["spec"]> & { containers: PodContainer[] },
): Promise<void> {
  await client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: name } },
    spec: { nodeName: "kws", terminationGracePeriodSeconds: 2, ...spec },
  });
}

const get = (name: string) => client.get<Pod>(pods, name, "default");
const first = (pod: Pod): ContainerStatus | undefined => pod.status?.containerStatuses?.[0];
const isReady = (pod: Pod) =>
  pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;

async function until(name: string, check: (pod: Pod) => boolean): Promise<Pod> {
  return vi.waitFor(
    async () => {
      const pod = await get(name);
      if (!check(pod)) {
        const { items } = await client.list(events, "default");
        const told = items.map((event) => `${event["reason"]}: ${event["message"]}`);
        throw new Error(
          [JSON.stringify(pod.status?.containerStatuses), ...told, ...lines.slice(-10)].join("\n"),
        );
      }
      return pod;
    },
    { timeout: 15_000, interval: 5 },
  );
}

async function logsOf(name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await kubelet.streams.logs(await get(name), {})) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function exec(name: string, ...command: string[]): Promise<string> {
  const session = await kubelet.streams.exec(await get(name), {
    command,
    stdin: false,
    stdout: true,
    stderr: true,
    tty: false,
  });
  let text = "";
  session.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  session.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await session.exit;
  return text;
}

test("a pod runs as it is told", async () => {
  await create("script", {
    restartPolicy: "Never",
    containers: [
      shell("echo $(id -u) $(hostname) $POD_IP", {
        env: [{ name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
        securityContext: { runAsUser: 0 },
      }),
    ],
  });
  const pod = await until("script", ({ status }) => status?.phase === "Succeeded");
  expect(await logsOf("script")).toBe(`0 script ${pod.status?.podIP}\n`);
  expect(first(pod)?.state.terminated).toMatchObject({ exitCode: 0, reason: "Completed" });
});

test("the ServiceAccount token and live ConfigMap changes reach the container", async () => {
  const metadata = { name: "settings", namespace: "default" };
  await client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata, data: { color: "red" } });
  await create("config", {
    containers: [shell("exec sleep 300", { volumeMounts: [{ name: "config", mountPath: "/config" }] })],
    volumes: [{ name: "config", configMap: { name: "settings" } }],
  });
  await until("config", isReady);
  expect(await exec("config", "cat", "/config/color")).toBe("red");
  expect(await exec("config", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace")).toBe(
    "default",
  );
  await client.patch(configMaps, "settings", "default", "merge", { data: { color: "blue" } });
  await vi.waitFor(async () => expect(await exec("config", "cat", "/config/color")).toBe("blue"), {
    timeout: 5000,
  });
});

test("a volume in memory is one, and a shared one is shared", async () => {
  const mount = { name: "memory", mountPath: "/memory" };
  const volumes = [{ name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } }];
  await create("memory", { containers: [shell("exec sleep 300", { volumeMounts: [mount] })], volumes });
  await create("shared", {
    initContainers: [{ ...shell("echo left > /memory/note", { volumeMounts: [mount] }), name: "init" }],
    containers: [shell("exec sleep 300", { volumeMounts: [mount] })],
    volumes,
  });
  await until("memory", isReady);
  expect(await exec("memory", "stat", "-f", "-c", "%T", "/memory")).toBe("tmpfs\n");
  await until("shared", isReady);
  expect(await exec("shared", "cat", "/memory/note")).toBe("left\n");
});

test("the next kubelet goes on where this one ended", async () => {
  const before = await until("config", isReady);
  await kubelet.close();
  kubelet = await startKubelet(options);
  expect(await exec("config", "cat", "/config/color")).toBe("blue");
  await client.patch(configMaps, "settings", "default", "merge", { data: { color: "green" } });
  await vi.waitFor(async () => expect(await exec("config", "cat", "/config/color")).toBe("green"), {
    timeout: 5000,
  });
  expect(first(await get("config"))).toMatchObject({
    containerID: first(before)?.containerID,
    restartCount: 0,
    ready: true,
  });
});

test("an exit is seen, its message kept, and the container restarted", async () => {
  await create("crash", { containers: [shell("echo why > /dev/termination-log; exit 7")] });
  const pod = await until("crash", (pod) => first(pod)?.state.waiting?.reason === "CrashLoopBackOff");
  expect(first(pod)?.lastState.terminated).toMatchObject({ exitCode: 7, message: "why\n" });
});

test("a server behind probe, Service and Ingress answers on the host, and its port can be forwarded", async () => {
  const server = "require('http').createServer((q,s)=>s.end('hello '+q.headers.host)).listen(3000)";
  await create("web", {
    containers: [
      {
        name: "app",
        image,
        command: ["node", "-e", server],
        readinessProbe: { httpGet: { path: "/", port: 3000 } },
      },
    ],
  });
  const pod = await until("web", isReady);
  const forwarded = await kubelet.streams.portForward(pod, 3000);
  forwarded.write("GET / HTTP/1.0\r\nhost: fwd\r\n\r\n");
  let text = "";
  for await (const chunk of forwarded) text += String(chunk);
  expect(text).toContain("hello fwd");

  const metadata = { name: "web", namespace: "default" };
  await client.create(services, {
    apiVersion: "v1",
    kind: "Service",
    metadata,
    spec: { ports: [{ port: 80 }] },
  });
  await client.create(endpointSlices, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { ...metadata, labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: [{ name: "", port: 3000, protocol: "TCP" }],
    endpoints: [{ addresses: [pod.status?.podIP ?? ""], conditions: { ready: true } }],
  });
  const backend = { service: { name: "web", port: { number: 80 } } };
  await client.create(ingresses, {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata,
    spec: {
      rules: [{ host: "web.localhost", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
    },
  });
  await vi.waitFor(async () => {
    const outgoing = request({
      host: "127.0.0.1",
      port: network.ingress.port,
      headers: { host: "web.localhost" },
    });
    outgoing.end();
    const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of answer) body += String(chunk);
    expect(body).toBe("hello web.localhost");
  });
  const names = "fetch('http://web.default.svc.cluster.local/').then(r=>r.text()).then(console.log)";
  await vi.waitFor(
    async () => expect(await exec("web", "node", "-e", names)).toContain("hello web.default"),
    {
      timeout: 10_000,
      interval: 200,
    },
  );
});

test("TLS ends at the Ingress with the certificate of the Secret for the host that the client names", async () => {
  const backend = { service: { name: "web", port: { number: 80 } } };
  const hosts = ["one.localhost", "two.localhost"];
  for (const host of hosts) await createTlsSecret(`tls-${host}`, host);
  await client.create(ingresses, {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name: "secure", namespace: "default" },
    spec: {
      tls: hosts.map((host) => ({ hosts: [host], secretName: `tls-${host}` })),
      rules: hosts.map((host) => ({ host, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } })),
    },
  });
  const ask = async (host: string) => {
    const port = network.ingress.tlsPort;
    const socket = tlsConnect({ port, host: "127.0.0.1", servername: host, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    const outgoing = request({ createConnection: () => socket, headers: { host } });
    outgoing.end();
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of incoming) body += String(chunk);
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return `${subject.CN}: ${body}`;
  };
  for (const host of hosts) {
    await vi.waitFor(async () => expect(await ask(host)).toBe(`${host}: hello ${host}`), 10_000);
  }
  expect(await ask("three.localhost")).toMatch(/^localhost: no Ingress rule/);

  await client.patch(secrets, "tls-two.localhost", "default", "merge", { data: { "tls.crt": btoa("none") } });
  await vi.waitFor(
    async () => expect(await ask("two.localhost")).toBe("localhost: hello two.localhost"),
    10_000,
  );
  expect(await ask("one.localhost")).toBe("one.localhost: hello one.localhost");
});

async function createTlsSecret(name: string, host: string): Promise<void> {
  const { cert, key } = await selfSigned([host], Date.now());
  await client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    type: "kubernetes.io/tls",
    metadata: { name, namespace: "default" },
    data: { "tls.crt": btoa(cert), "tls.key": btoa(key) },
  });
}

test("a gRPC health server makes its pod ready, and its word takes it out again", async () => {
  const server = `const health = require("http2").createServer();
    health.on("stream", (stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, require("fs").existsSync("/tmp/draining") ? 2 : 1]));
    });
    health.listen(50051);`;
  const readinessProbe = { grpc: { port: 50051 }, periodSeconds: 1, failureThreshold: 1 };
  const app = { name: "app", image, command: ["node", "-e", server], readinessProbe };
  await create("grpc", { containers: [app] });
  await until("grpc", isReady);
  await exec("grpc", "touch", "/tmp/draining");
  await until("grpc", (pod) => !isReady(pod));
  const { items } = await client.list(events, "default");
  expect(items.map((event) => String(event["message"]))).toContain(
    'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")',
  );
});

test("a pod on the node's network has the node's address, and serves there", async () => {
  const server = "require('http').createServer((q,s)=>s.end('from the node')).listen(18080)";
  await create("on-node", {
    hostNetwork: true,
    dnsPolicy: "ClusterFirstWithHostNet",
    containers: [
      { name: "app", image, command: ["node", "-e", server], readinessProbe: { tcpSocket: { port: 18080 } } },
    ],
  });
  const pod = await until("on-node", isReady);
  expect(pod.status).toMatchObject({ podIP: addresses.node, hostIP: addresses.node });
  const get = `fetch("http://${addresses.node}:18080/").then((answer) => answer.text()).then(console.log)`;
  expect(await exec("web", "node", "-e", get)).toBe("from the node\n");
  const name = "fetch('http://web.default.svc.cluster.local/').then((r) => r.text()).then(console.log)";
  expect(await exec("on-node", "node", "-e", name)).toContain("hello web.default");
});

test("a deleted pod is gone within its grace period", async () => {
  await client.delete(pods, "warm", "default");
  await vi.waitFor(async () => expect(await client.find(pods, "warm", "default")).toBeUndefined(), {
    timeout: 8000,
  });
});
