import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { configMaps, secrets } from "@kws/kube/resources";
import { unpackClients, type Clients } from "./testing/clients.ts";
import { startTestServer, type TestServer } from "./testing/server.ts";

let cluster: TestServer;
let clients: Clients;
let chart: string;

beforeAll(async () => {
  cluster = await startTestServer();
  clients = await unpackClients(cluster.server.kubeconfig());
  chart = join(clients.folder, "chart");
  await mkdir(join(chart, "templates"), { recursive: true });
  await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: settings\nversion: 1.0.0\n");
  await writeFile(join(chart, "values.yaml"), "colour: red\n");
  const template = `apiVersion: v1
kind: ConfigMap
metadata: { name: "{{ .Release.Name }}-settings" }
data: { colour: "{{ .Values.colour }}" }
`;
  await writeFile(join(chart, "templates", "configmap.yaml"), template);
});
afterAll(async () => {
  await clients.close();
  await cluster.close();
});

async function helm(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await clients.helm(args);
  expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
  return stdout;
}

const colour = async () =>
  (await cluster.client.get(configMaps, "shop-settings", "default")).data.colour as string;

test("a release is installed, upgraded, rolled back and uninstalled", async () => {
  expect(await helm("install", "shop", chart, "--wait")).toContain("STATUS: deployed");
  expect(await colour()).toBe("red");
  await helm("upgrade", "shop", chart, "--set", "colour=blue", "--wait");
  expect(await colour()).toBe("blue");
  expect(await helm("rollback", "shop", "1", "--wait")).toContain("Rollback was a success");
  expect(await colour()).toBe("red");
  const history = JSON.parse(await helm("history", "shop", "-o", "json")) as {
    status: string;
    description: string;
  }[];
  expect(history.map(({ status, description }) => `${status}: ${description}`)).toEqual([
    "superseded: Install complete",
    "superseded: Upgrade complete",
    "deployed: Rollback to 1",
  ]);
  expect(await helm("list", "-q")).toBe("shop");
  const stored = await cluster.client.list(secrets, "default", { labelSelector: "owner=helm,name=shop" });
  expect(stored.items.map(({ type }) => type as string)).toEqual(Array(3).fill("helm.sh/release.v1"));
  await helm("uninstall", "shop", "--wait");
  expect(await cluster.client.find(configMaps, "shop-settings", "default")).toBeUndefined();
  expect(await helm("list", "-q")).toBe("");
});

test("an install over something that another owner made is refused and changes nothing", async () => {
  await cluster.client.create(configMaps, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "other-settings", namespace: "default" },
    data: { colour: "mine" },
  });
  const { exitCode, stderr } = await clients.helm(["install", "other", chart]);
  expect([exitCode, stderr]).toEqual([1, expect.stringContaining("exists and cannot be imported")]);
  expect((await cluster.client.get(configMaps, "other-settings", "default")).data.colour).toBe("mine");
});
