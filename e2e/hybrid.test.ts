/** A stack of which one service runs here and the other in a shared cluster, where this person may read and forward alone. */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { identify } from "@kws/base/process";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import {
  deployments,
  leases,
  namespaces,
  pods,
  roleBindings,
  roles,
  secrets,
  serviceAccounts,
  services,
} from "@kws/kube/resources";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { parse, stringify } from "yaml";
import { type Kws, newKws, type Result } from "./kws.ts";

let kws: Kws;
let workspace: string;
let shared: KubeClient;
let env: NodeJS.ProcessEnv;
const waiting = { timeout: 30_000, interval: 100 };

/** Answers with its pod's name, or with what another service answers. */
const programs = {
  api: `(q, s) => s.end(require("os").hostname())`,
  web: `async (q, s) => s.end("web " + await fetch("http://api", { headers: { connection: "close" } }).then((r) => r.text(), String))`,
};

beforeAll(async () => {
  kws = await newKws();
  workspace = join(kws.home, "workspace");
  await write("kws.yaml", {
    name: "hybrid",
    services: ["./api", "./web"],
    stacks: { shop: {} },
    cluster: { allowContexts: ["qa"] },
  });
  for (const [name, program] of Object.entries(programs)) {
    await write(`${name}/kws.yaml`, { name, ...(name === "web" ? { dependsOn: ["api"] } : {}) });
    await write(`${name}/chart/Chart.yaml`, { apiVersion: "v2", name, version: "0.1.0" });
    await write(`${name}/chart/templates/deployment.yaml`, deployment(name, program));
    await write(`${name}/chart/templates/service.yaml`, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name },
      spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
    });
  }
  await must("stack", "start", "shop", "api", "--cluster", "shared", "--namespace", "qa1");
  shared = await kws.client("shared");
  const kubeconfig = join(kws.home, "qa.yaml");
  await writeFile(kubeconfig, stringify(await readOnly()));
  env = { KUBECONFIG: kubeconfig };
  await write("kws.local.yaml", {
    stacks: { shop: { remote: { context: "qa", namespace: "qa1", except: ["web"] } } },
  });
});
afterAll(() => kws[Symbol.asyncDispose]());

async function write(path: string, content: object): Promise<void> {
  const target = join(workspace, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, stringify(content));
}

function deployment(name: string, program: string): object {
  const source = `require("http").createServer(${program}).listen(8080)`;
  const container = {
    name,
    image: `kws.local/node:${process.versions.node.split(".")[0]}`,
    command: ["node", "-e", source],
    readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: {
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { terminationGracePeriodSeconds: 0, containers: [container] },
      },
    },
  };
}

/** A kubeconfig for somebody who may see Services and forward ports, in one namespace. */
async function readOnly(): Promise<object> {
  const metadata = { name: "reader", namespace: "qa1" };
  await shared.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
  await shared.create(roles, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata,
    rules: [
      { apiGroups: [""], resources: ["services"], verbs: ["get", "list"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list"] },
      { apiGroups: [""], resources: ["pods/portforward"], verbs: ["get", "create"] },
    ],
  });
  await shared.create(roleBindings, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reader" },
    subjects: [{ kind: "ServiceAccount", ...metadata }],
  });
  const token = await shared.create<KubeObject>(
    serviceAccounts,
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", metadata, spec: {} },
    { subresource: "token" },
  );
  const { kubeconfigPath } = await kws.cluster("shared");
  const admin = parse(await readFile(kubeconfigPath, "utf8")) as { clusters: { name: string }[] };
  return {
    ...admin,
    users: [{ name: "reader", user: { token: token["status"]?.token } }],
    contexts: [{ name: "qa", context: { cluster: admin.clusters[0]?.name, user: "reader" } }],
    "current-context": "qa",
  };
}

const run = (...args: string[]): Promise<Result> => kws.run(args, { env, cwd: workspace });

async function must(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect(code, `kws ${args.join(" ")}\n${stderr}`).toBe(0);
  return stdout;
}

/** Through the Service names of both. */
async function ask(): Promise<string> {
  const program = `fetch("http://web", { headers: { connection: "close" } }).then(async (r) => console.log(await r.text()))`;
  return (await must("service", "exec", "web", "--", "node", "-e", program)).trim();
}

async function remoteState(): Promise<{ code: number; state: string; problem: string | undefined }> {
  const { code, stdout } = await run("stack", "status", "shop", "-o", "json");
  const [remote] = (JSON.parse(stdout) as { remote: { state: string; problem?: string }[] }).remote;
  return { code, state: remote?.state ?? "", problem: remote?.problem };
}

const lease = "kws-remote-shop";

async function keeperPid(): Promise<number> {
  const local = await kws.client();
  const { spec } = await local.get(leases, lease, "shop");
  return Number(String(spec?.holderIdentity).split("/").at(-2));
}

const isGone = (pid: number) => () => expect(identify(pid)).toBeUndefined();

test("a service here calls one of the shared cluster by its name, whatever happens in between", async () => {
  const started = JSON.parse(await must("stack", "start", "shop", "-o", "json")) as {
    services: { service: string }[];
    remote: object[];
  };
  expect(started.services.map(({ service }) => service)).toEqual(["web"]);
  expect(started.remote).toEqual([
    { service: "api", stack: "shop", context: "qa", namespace: "qa1", state: "ready" },
  ]);
  const listed = JSON.parse(await must("service", "list", "-o", "json")) as object[];
  expect(listed).toMatchObject([
    { service: "web", state: "ready" },
    { service: "api", state: "remote" },
  ]);
  const first = await ask();
  expect(first).toMatch(/^web api-/);

  await shared.delete(pods, first.slice("web ".length), "qa1");
  const second = await ask();
  expect(second).toMatch(/^web api-/);
  expect(second).not.toBe(first);

  const killed = await keeperPid();
  process.kill(killed, "SIGKILL");
  await vi.waitFor(isGone(killed), waiting);
  expect(await remoteState()).toMatchObject({
    code: 3,
    state: "unreachable",
    problem: expect.stringContaining("is gone"),
  });
  await must("stack", "start", "shop");
  expect(await remoteState()).toMatchObject({ code: 0, state: "ready" });
  expect(await ask()).toBe(second);

  const local = await kws.client();
  const kept = await keeperPid();
  const { items } = await local.list(pods, "shop", { labelSelector: "kws.dev/remote=shop" });
  for (const { metadata } of items) await local.delete(pods, metadata.name, "shop");
  await vi.waitFor(async () => expect(await ask()).toBe(second), waiting);
  await must("stack", "start", "shop");
  expect(await keeperPid()).toBe(kept);
});

test("what is installed here is not replaced, and what is started here takes the place of what leads there", async () => {
  await must("service", "start", "api");
  expect(await ask()).toMatch(/^web api-/);
  const local = await kws.client();
  expect((await local.list(deployments, "shop")).items.map(({ metadata }) => metadata.name)).toEqual([
    "api",
    "web",
  ]);
  expect((await local.get(services, "api", "shop"))["spec"].selector).toEqual({ app: "api" });
  const { code, stderr } = await run("stack", "start", "shop");
  expect(code).toBe(9);
  expect(stderr).toContain("kws service remove api");
  await must("service", "remove", "api", "--yes");
});

test("a dependency there that is not ready is waited for", async () => {
  const scale = (replicas: number) =>
    shared.patch(deployments, "api", "qa1", "merge", { spec: { replicas } });
  await scale(0);
  await vi.waitFor(async () => {
    const found = await shared.get(deployments, "api", "qa1");
    expect(found["status"]?.replicas ?? 0).toBe(0);
  }, waiting);
  const { code, stderr } = await run("stack", "start", "shop", "--timeout", "1s");
  expect(stderr).toContain(
    "api is not ready in the namespace qa1 of the context qa: the Service api has no ready pod",
  );
  expect(code).toBe(6);
  expect(await remoteState()).toMatchObject({
    code: 3,
    problem: "the Service api has no ready pod in qa1 of qa",
  });
  await scale(1);
  await must("stack", "start", "shop");
  expect(await ask()).toMatch(/^web api-/);
});

test("stopping the cluster and removing the stack leave no process and nothing in either cluster", async () => {
  const stopped = await keeperPid();
  await must("cluster", "stop");
  isGone(stopped)();
  await must("cluster", "start");
  await must("stack", "start", "shop");
  const removed = await keeperPid();
  await must("stack", "remove", "shop", "--yes");
  isGone(removed)();
  const local = await kws.client();
  expect(await local.find(namespaces, "shop")).toBeUndefined();
  expect(await local.find(secrets, lease, "shop")).toBeUndefined();
  expect(await readdir(join(kws.home, ".local/share/kws/remote"))).toEqual([]);
  const left = await shared.list(services, "qa1");
  expect(left.items.map(({ metadata }) => metadata.name)).toEqual(["api"]);
  await rm(join(workspace, "kws.local.yaml"));
});
