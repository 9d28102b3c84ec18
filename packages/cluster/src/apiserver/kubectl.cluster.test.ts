import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serviceAccounts } from "@kws/kube/resources";
import { unpackClients, type Clients } from "./testing/clients.ts";
import { startTestServer, type TestServer } from "./testing/server.ts";

let cluster: TestServer;
let clients: Clients;

beforeAll(async () => {
  cluster = await startTestServer();
  clients = await unpackClients(cluster.server.kubeconfig());
  const metadata = { name: "default", namespace: "default" };
  await cluster.client.create(serviceAccounts, { apiVersion: "v1", kind: "ServiceAccount", metadata });
});
afterAll(async () => {
  await clients.close();
  await cluster.close();
});

/** What kubectl prints; fails the test with its complaint where it fails. */
async function kubectl(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await clients.kubectl(args);
  expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
  return stdout;
}

async function manifest(name: string, object: object): Promise<string> {
  const path = join(clients.folder, name);
  await writeFile(path, JSON.stringify(object));
  return path;
}

const configMap = (name: string, value: string) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data: { value },
});

test("get shows tables and whole objects", async () => {
  expect(await kubectl("get", "ns", "default")).toMatch(/NAME +STATUS +AGE\ndefault +Active/);
  expect(JSON.parse(await kubectl("get", "svc", "kubernetes", "-o", "json"))).toMatchObject({
    kind: "Service",
    spec: { clusterIP: "10.96.0.1" },
  });
  const { exitCode, stderr } = await clients.kubectl(["get", "cm", "missing"]);
  expect([exitCode, stderr]).toEqual([1, 'Error from server (NotFound): configmaps "missing" not found']);
});

test("create, apply, diff, label, patch and delete change a ConfigMap", async () => {
  expect(await kubectl("create", "configmap", "made", "--from-literal=a=b")).toBe("configmap/made created");
  const one = await manifest("one.json", configMap("applied", "1"));
  expect(await kubectl("apply", "-f", one)).toBe("configmap/applied created");
  expect(await kubectl("apply", "-f", one)).toBe("configmap/applied unchanged");
  const two = await manifest("two.json", configMap("applied", "2"));
  const diff = await clients.kubectl(["diff", "-f", two]);
  expect(diff.exitCode).toBe(1);
  expect(diff.stdout).toMatch(/^-  value: "1"\n\+  value: "2"$/m);
  expect(await kubectl("apply", "-f", two)).toBe("configmap/applied configured");
  expect(await kubectl("label", "cm", "applied", "tier=web")).toBe("configmap/applied labeled");
  expect(await kubectl("get", "cm", "-l", "tier=web", "-o", "name")).toBe("configmap/applied");
  expect(
    await kubectl(
      "patch",
      "cm",
      "applied",
      "--type=json",
      '-p=[{"op":"replace","path":"/data/value","value":"3"}]',
    ),
  ).toBe("configmap/applied patched");
  expect(await kubectl("get", "cm", "applied", "-o", "jsonpath={.data.value}")).toBe("3");
  expect(await kubectl("delete", "cm", "applied", "made")).toContain('configmap "applied" deleted');
});

test("server-side apply reports conflicts and takes over when forced", async () => {
  const one = await manifest("ssa1.json", configMap("shared", "1"));
  const two = await manifest("ssa2.json", configMap("shared", "2"));
  expect(await kubectl("apply", "--server-side", "-f", one)).toBe("configmap/shared serverside-applied");
  const refused = await clients.kubectl(["apply", "--server-side", "--field-manager=other", "-f", two]);
  expect([refused.exitCode, refused.stderr.split("\n")[0]]).toEqual([
    1,
    'error: Apply failed with 1 conflict: conflict with "kubectl": .data.value',
  ]);
  await kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", two);
  expect(await kubectl("get", "cm", "shared", "-o", "jsonpath={.data.value}")).toBe("2");
});

test("a misspelt field is refused", async () => {
  const path = await manifest("wrong.json", { ...configMap("wrong", "1"), dada: {} });
  const { exitCode, stderr } = await clients.kubectl(["apply", "--validate=strict", "-f", path]);
  expect([exitCode, stderr]).toEqual([1, expect.stringContaining('unknown field "dada"')]);
  expect((await clients.kubectl(["get", "cm", "wrong"])).exitCode).toBe(1);
});

test("a Deployment is created, scaled, explained, waited for and deleted", async () => {
  await kubectl("create", "deployment", "web", "--image=registry.example/web");
  expect(await kubectl("scale", "deployment", "web", "--replicas=3")).toBe("deployment.apps/web scaled");
  expect(await kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")).toBe("3");
  expect(await kubectl("explain", "deployment.spec.replicas")).toContain("FIELD: replicas <integer>");
  expect(await kubectl("delete", "deployment", "web")).toContain("deleted");
  expect(await kubectl("wait", "--for=delete", "deployment/web", "--timeout=5s")).toBe("");
});

test("wait follows a condition", async () => {
  await kubectl("create", "namespace", "waited");
  expect(await kubectl("wait", "--for=jsonpath={.status.phase}=Active", "ns/waited", "--timeout=5s")).toBe(
    "namespace/waited condition met",
  );
});

test("api-resources, api-versions and version describe the server", async () => {
  expect(await kubectl("api-resources")).toMatch(/^deployments +deploy +apps\/v1 +true +Deployment$/m);
  expect((await kubectl("api-versions")).split("\n")).toContain("networking.k8s.io/v1");
  expect(await kubectl("version")).toMatch(/Server Version: v1\.35/);
});

test("rights are asked for, impersonated and carried by tokens", async () => {
  expect(await kubectl("auth", "can-i", "create", "pods")).toBe("yes");
  expect((await clients.kubectl(["auth", "can-i", "create", "pods", "--as=jane"])).stdout).toBe("no");
  expect(await kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")).toBe(
    "kubernetes-admin",
  );
  await kubectl("create", "serviceaccount", "robot");
  const token = await kubectl("create", "token", "robot");
  expect(token.split(".")).toHaveLength(3);
  await kubectl("create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=default:robot");
  expect(await kubectl("auth", "can-i", "list", "pods", "--as=system:serviceaccount:default:robot")).toBe(
    "yes",
  );
});

test("a pod is run and deleted", async () => {
  expect(await kubectl("run", "p", "--image=registry.example/web")).toBe("pod/p created");
  expect(await kubectl("get", "pod", "p")).toMatch(/p +0\/1 +Pending +0/);
  expect(await kubectl("delete", "pod", "p", "--timeout=5s")).toContain('pod "p" deleted');
});
