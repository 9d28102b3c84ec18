/** Forwards and intercepts on a real cluster, through whatever may happen to pods, programs and the connection. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { exec } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import type { KubeObject } from "@kws/kube/object";
import { deployments, endpointSlices, pods, secrets, services } from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { embeddedProvider } from "../providers/embedded.ts";
import { connect, type Connection, type Provider } from "../providers/provider.ts";
import { type Cluster, clusterOf } from "./cluster.ts";
import { openForward } from "./forward.ts";
import { type InterceptEvent, startIntercept } from "./intercept.ts";
import { openLocalProxy, proxyVariables } from "./local-proxy.ts";
import { namesOf } from "./objects.ts";
import { endIntercept } from "./take.ts";

const namespace = "default";
const selector = { app: "web" };
let dir: TempDir;
let provider: Provider;
let connection: Connection;
let cluster: Cluster;
let laptop: Server;
let object: KubeObject;

const program = `require("http").createServer((q, s) => s.end("pod " + require("os").hostname())).listen(8080)`;

beforeAll(async () => {
  dir = await tempDir("kws-attach");
  provider = embeddedProvider({ name: "attach", home: join(dir.path, "data"), env: process.env });
  await provider.start({});
  connection = await connect(provider);
  cluster = await clusterOf(connection);
  const container = {
    name: "web",
    image: provider.nodeImage,
    command: ["node", "-e", program],
    ports: [{ name: "http", containerPort: 8080 }],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
  };
  const { client } = cluster;
  await client.create(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web", namespace },
    spec: {
      selector: { matchLabels: selector },
      template: {
        metadata: { labels: selector },
        spec: { terminationGracePeriodSeconds: 0, containers: [container] },
      },
    },
  });
  object = await client.apply(
    services,
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace },
      spec: { selector, ports: [{ port: 80, targetPort: "http" }] },
    },
    { fieldManager: "helm" },
  );
  laptop = createServer((request, response) => response.end(`laptop ${request.url}`));
  laptop.listen(0, "127.0.0.1");
  await once(laptop, "listening");
});
afterAll(async () => {
  laptop.closeAllConnections();
  laptop.close();
  connection.close();
  await provider.reset({ foreign: false });
  await dir[Symbol.asyncDispose]();
});

const target = { service: "web", namespace, kubeService: "web", port: 80 };
const forwardTo = () =>
  openForward({
    cluster,
    target,
    address: "127.0.0.1",
    localPort: undefined,
    preferred: 18_080,
    signal: new AbortController().signal,
    onState: () => {},
  });

/** On a connection of its own. */
async function ask(port: number, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/x`, {
    headers: { ...headers, connection: "close" },
  });
  return response.text();
}

const settings = (over: Partial<Parameters<typeof startIntercept>[0]> = {}) => ({
  cluster,
  service: "web",
  namespace,
  object,
  remote: 80,
  local: { host: "127.0.0.1", port: (laptop.address() as AddressInfo).port },
  headers: {},
  image: provider.nodeImage ?? "",
  graceMs: 60_000,
  holder: { user: "someone", host: hostname(), pid: process.pid },
  takeOver: false,
  timeoutMs: 30_000,
  clock: () => Date.now(),
  signal: new AbortController().signal,
  onEvent: () => {},
  ...over,
});

const waiting = { timeout: 20_000, interval: 50 };

async function untilGivenBack(): Promise<void> {
  await vi.waitFor(async () => {
    const now = await cluster.client.get(services, "web", namespace);
    expect(now["spec"].selector).toEqual(selector);
    expect(now.metadata.annotations ?? {}).toEqual({});
    expect(now.metadata.managedFields?.map(({ manager }) => manager)).toEqual(["helm"]);
    expect(await cluster.client.find(secrets, namesOf("web", namespace).name, namespace)).toBeUndefined();
  }, waiting);
}

test("a connection that comes while there is no pod waits for one, and the next pod is found", async () => {
  await using forward = await forwardTo();
  const first = await ask(forward.port);
  expect(first).toMatch(/^pod web-/);
  await cluster.client.delete(pods, first.slice("pod ".length), namespace);
  const second = await ask(forward.port);
  expect(second).toMatch(/^pod web-/);
  expect(second).not.toBe(first);
});

test("programs reach the cluster's Services by name through the proxy, over HTTP, CONNECT and SOCKS", async () => {
  await using proxy = await openLocalProxy({ cluster, namespace, signal: new AbortController().signal });
  const env = { PATH: process.env["PATH"], ...proxyVariables(proxy) };
  const curl = async (...args: string[]) => {
    const { stdout } = await exec("curl", ["-sS", "--max-time", "30", ...args], { env });
    return stdout;
  };
  for (const name of ["web", "web.default", "web.default.svc.cluster.local"])
    expect(await curl(`http://${name}/x`)).toMatch(/^pod web-/);
  expect(await curl("--proxytunnel", "http://web/x")).toMatch(/^pod web-/);
  expect(await curl("--proxy", proxyVariables(proxy)["ALL_PROXY"] ?? "", "http://web/x")).toMatch(
    /^pod web-/,
  );
  // What is no Service of the cluster is reached from here, with the path that it would be asked for without a proxy.
  const { port } = laptop.address() as AddressInfo;
  expect(await curl("--noproxy", "", `http://localhost:${port}/here`)).toBe("laptop /here");
  expect(await curl("--noproxy", "", "--proxytunnel", `http://localhost:${port}/there`)).toBe(
    "laptop /there",
  );
  expect(await curl("--noproxy", "", "-w", "%{http_code}", "http://localhost:1/")).toMatch(/502$/);
});

test("requests with the header come here, others and those that nothing answers go to the pods", async () => {
  await using forward = await forwardTo();
  const events: InterceptEvent["kind"][] = [];
  const mine = { "x-debug": "me" };
  {
    await using _intercept = await startIntercept(
      settings({ headers: mine, onEvent: ({ kind }) => events.push(kind) }),
    );
    await vi.waitFor(async () => expect(await ask(forward.port, mine)).toBe("laptop /x"), waiting);
    expect(await ask(forward.port)).toMatch(/^pod/);
    await expect(
      startIntercept(settings({ holder: { user: "other", host: "elsewhere", pid: 1 } })),
    ).rejects.toThrow("intercepts web since");
    // As an installation does: Helm owns the selector, and leads the Service back.
    const applied = { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace } };
    await cluster.client.apply(
      services,
      { ...applied, spec: { selector, ports: [{ port: 80, targetPort: "http" }] } },
      { fieldManager: "helm" },
    );
    await vi.waitFor(async () => expect(await ask(forward.port, mine)).toBe("laptop /x"), waiting);
    const { port } = laptop.address() as AddressInfo;
    laptop.close();
    laptop.closeAllConnections();
    expect(await ask(forward.port, mine)).toMatch(/^pod/);
    // The proxy tells it beside the answer, and a request may still go by what led the Service back.
    await vi.waitFor(async () => {
      expect(await ask(forward.port, mine)).toMatch(/^pod/);
      expect(events).toContain("unanswered");
    }, waiting);
    laptop.listen(port, "127.0.0.1");
    await vi.waitFor(async () => expect(await ask(forward.port, mine)).toBe("laptop /x"), waiting);
  }
  await untilGivenBack();
  await vi.waitFor(async () => expect(await ask(forward.port, mine)).toMatch(/^pod/), waiting);
});

/** A session in a process of its own, that can be killed. */
async function startElsewhere(graceMs: number): Promise<ChildProcess> {
  const {
    cluster: _cluster,
    signal: _signal,
    clock: _clock,
    onEvent: _onEvent,
    ...rest
  } = settings({ graceMs });
  const text = `
    const { startIntercept } = await import(${JSON.stringify(import.meta.resolve("./intercept.ts"))});
    const { clusterOf } = await import(${JSON.stringify(import.meta.resolve("./cluster.ts"))});
    const { KubeClient } = await import("@kws/kube/client");
    const { connect } = await import("@kws/kube/kubeconfig");
    const kubeconfig = ${JSON.stringify(connection.kubeconfig)};
    const client = new KubeClient(await connect(kubeconfig));
    await startIntercept({
      ...${JSON.stringify(rest)},
      cluster: await clusterOf({ client, kubeconfig }),
      holder: { user: "someone", host: ${JSON.stringify(hostname())}, pid: process.pid },
      clock: () => Date.now(),
      signal: new AbortController().signal,
      onEvent: ({ kind }) => console.log(kind),
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", text], {
    cwd: import.meta.dirname,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

test("after kill -9 the pods answer at once, and the proxy gives the Service back by itself", async () => {
  await using forward = await forwardTo();
  const child = await startElsewhere(1000);
  await vi.waitFor(async () => expect(await ask(forward.port)).toBe("laptop /x"), waiting);
  child.kill("SIGKILL");
  await once(child, "exit");
  await vi.waitFor(async () => expect(await ask(forward.port)).toMatch(/^pod/), waiting);
  await untilGivenBack();
});

test("what was left behind is given back from elsewhere, and nothing of it stays", async () => {
  const child = await startElsewhere(600_000);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await endIntercept(cluster.client, namesOf("web", namespace), object)).toBe(true);
  await untilGivenBack();
  await vi.waitFor(async () => {
    const { items } = await cluster.client.list(endpointSlices, namespace);
    const names = items.map(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"]);
    expect(names).toEqual(["kubernetes", "web"]);
    expect((await cluster.client.list(deployments, namespace)).items).toHaveLength(1);
  }, waiting);
});
