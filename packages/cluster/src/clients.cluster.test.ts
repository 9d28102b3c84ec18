/** A whole cluster as kubectl and helm see it: containers, names, the API server's proxy, rollouts and releases. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silent } from "@kws/base/logger";
import { unpackClients, type Clients } from "./apiserver/testing/clients.ts";
import { runCluster, type Cluster } from "./cluster.ts";

let folder: string;
let cluster: Cluster;
let clients: Clients;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "clients-cluster-"));
  cluster = await runCluster({
    name: "clients",
    folder,
    runtime: { name: "sandbox" },
    imagesFolder: join(folder, "images"),
    ingressPort: 0,
    node: { path: process.execPath, version: process.versions.node },
    env: {},
    logger: silent,
    now: Date.now,
  });
  clients = await unpackClients(cluster.kubeconfig);
  await writeFile(join(clients.folder, "web.json"), JSON.stringify(web));
  await kubectl("apply", "-f", "web.json");
  await kubectl("rollout", "status", "deployment/web", "--timeout=50s");
});
afterAll(async () => {
  await clients.close();
  await cluster.stop("at once");
  await rm(folder, { recursive: true, force: true });
});

const image = "kws.local/node:24";
const program = `require("http").createServer((q, s) => s.end(q.url + " " + process.env.V)).listen(8080);
process.on("SIGTERM", () => process.exit(0)); console.log("listening");`;
const labels = { app: "web" };
const web = {
  apiVersion: "v1",
  kind: "List",
  items: [
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              {
                name: "web",
                image,
                command: ["node", "-e", program],
                env: [{ name: "V", value: "1" }],
                readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 },
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web" },
      spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
    },
  ],
};

async function run(client: "kubectl" | "helm", args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await clients[client](args);
  expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
  return stdout;
}
const kubectl = (...args: string[]): Promise<string> => run("kubectl", args);
const helm = (...args: string[]): Promise<string> => run("helm", args);

async function aPod(): Promise<string> {
  return kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}");
}

test("the API server and DNS are Services with endpoints that answer", async () => {
  const columns = "custom-columns=S:.metadata.name,A:.endpoints[*].addresses[0],P:.ports[*].port";
  expect(
    await kubectl("get", "endpointslices", "-n", "default", "kubernetes", "-o", columns, "--no-headers"),
  ).toMatch(/^kubernetes +10\.244\.0\.1 +6443$/);
  const ask = `const [ca, token] = ["ca.crt", "token"].map((file) =>
    require("fs").readFileSync("/var/run/secrets/kubernetes.io/serviceaccount/" + file));
  const get = (host, port) => new Promise((done, fail) => require("https")
    .get({ host, port, path: "/version", ca, headers: { authorization: "Bearer " + token } }, (r) => done(r.resume().statusCode))
    .on("error", fail));
  (async () => console.log(await get("kubernetes.default.svc", 443), await get("10.244.0.1", 6443),
    await require("dns").promises.resolve4("kube-dns.kube-system.svc.cluster.local")) || process.exit())();`;
  expect(await kubectl("exec", await aPod(), "--", "node", "-e", ask)).toBe("200 200 [ '10.96.0.10' ]");
});

test("a pod runs in a namespace that was made a moment ago", async () => {
  await kubectl("create", "namespace", "fresh");
  await kubectl("-n", "fresh", "run", "once", `--image=${image}`, "--restart=Never", "--", "echo", "ran");
  await kubectl(
    "-n",
    "fresh",
    "wait",
    "pod/once",
    "--for=jsonpath={.status.phase}=Succeeded",
    "--timeout=20s",
  );
  expect(await kubectl("-n", "fresh", "logs", "once")).toBe("ran");
  await kubectl("delete", "namespace", "fresh");
});

test("the API server passes requests on to pods and Services", async () => {
  const pod = await aPod();
  const base = "/api/v1/namespaces/default";
  expect(await kubectl("get", "--raw", `${base}/pods/${pod}:8080/proxy/a?b=c`)).toBe("/a?b=c 1");
  expect(await kubectl("get", "--raw", `${base}/services/web:http/proxy/d`)).toBe("/d 1");
  expect(await kubectl("get", "--raw", `${base}/services/web:80/proxy/`)).toBe("/ 1");
  const refused = await clients.kubectl(["get", "--raw", `${base}/pods/${pod}:81/proxy/`]);
  expect(refused).toMatchObject({ exitCode: 1 });
  expect(refused.stderr).toContain("error trying to reach service");
  expect(refused.stderr).toContain("ServiceUnavailable");
});

test("what pods and nodes use is measured", async () => {
  const [pod, ...more] = (await kubectl("top", "pods", "-l", "app=web", "--no-headers")).split("\n");
  expect(pod).toMatch(/^web-\S+ +\d+m +[1-9]\d*Mi/);
  expect(more).toHaveLength(1);
  expect(await kubectl("top", "nodes", "--no-headers")).toMatch(/^kws +\d+m +\d+% +[1-9]\d*Mi +\d+%/);
});

test("the node says the same version as the API server", async () => {
  const { gitVersion } = JSON.parse(await kubectl("get", "--raw", "/version")) as { gitVersion: string };
  const path = "jsonpath={.items[*].status.nodeInfo.kubeletVersion}";
  expect(await kubectl("get", "nodes", "-o", path)).toBe(gitVersion);
});

test("files are copied in and out of a container, and its log is read by label", async () => {
  const pod = await aPod();
  await writeFile(join(clients.folder, "in.txt"), "there and back\n");
  await kubectl("cp", "in.txt", `${pod}:/tmp/in.txt`);
  expect(await kubectl("exec", pod, "--", "cat", "/tmp/in.txt")).toBe("there and back");
  await kubectl("cp", `${pod}:/tmp/in.txt`, "out.txt");
  expect(await kubectl("logs", "-l", "app=web", "--prefix")).toContain(`[pod/${pod}/web] listening`);
});

test("a debug container sees the processes of the one that it is for", async () => {
  const pod = await aPod();
  const options = [`--image=${image}`, "--target=web", "-c", "look", "--profile=general"];
  await kubectl("debug", pod, ...options, "--", "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline");
  const state = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0";
  await kubectl("wait", `pod/${pod}`, `--for=${state}`, "--timeout=20s");
  expect(await kubectl("logs", pod, "-c", "look")).toMatch(/^node -e require/);
});

test("a rollout changes all pods, keeps a history and is undone", async () => {
  await kubectl("set", "env", "deployment/web", "V=2");
  expect(await kubectl("rollout", "status", "deployment/web", "--timeout=30s")).toContain(
    "successfully rolled out",
  );
  expect(await kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/")).toBe("/ 2");
  expect(await kubectl("rollout", "history", "deployment/web")).toMatch(/\n1 +<none>\n2 +<none>/);
  await kubectl("rollout", "undo", "deployment/web");
  await kubectl("rollout", "status", "deployment/web", "--timeout=30s");
  expect(await kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/")).toBe("/ 1");
});

test("a request for a certificate names who asks, and is approved", async () => {
  const spec = {
    request: btoa("none"),
    signerName: "example.com/signer",
    usages: ["client auth"],
    username: "other",
  };
  const request = {
    apiVersion: "certificates.k8s.io/v1",
    kind: "CertificateSigningRequest",
    metadata: { name: "one" },
  };
  await writeFile(join(clients.folder, "csr.json"), JSON.stringify({ ...request, spec }));
  await kubectl("create", "-f", "csr.json");
  await kubectl("certificate", "approve", "one");
  expect(await kubectl("get", "csr", "one", "--no-headers")).toMatch(/kubernetes-admin +<none> +Approved$/);
});

test("a release runs its hooks in order, and its test", async () => {
  const chart = join(clients.folder, "chart");
  await mkdir(join(chart, "templates"), { recursive: true });
  await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: hooked\nversion: 1.0.0\n");
  const hook = (name: string, annotations: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, annotations: { ${annotations} } }
spec:
  restartPolicy: Never
  containers: [{ name: c, image: "${image}", command: [echo, "${name} ran"] }]
`;
  const policy = `helm.sh/hook-delete-policy: "before-hook-creation"`;
  const parts = [
    hook("second", `helm.sh/hook: pre-install, helm.sh/hook-weight: "2", ${policy}`),
    hook("first", `helm.sh/hook: pre-install, helm.sh/hook-weight: "1", ${policy}`),
    hook("check", `helm.sh/hook: test`),
    `
apiVersion: v1
kind: ConfigMap
metadata: { name: hooked }
data: { uid: {{ (lookup "v1" "Namespace" "" "default").metadata.uid | quote }} }
`,
  ];
  await writeFile(join(chart, "templates", "all.yaml"), parts.join("---"));
  await helm("install", "hooked", "chart", "--wait", "--timeout", "25s");
  const times = await kubectl(
    "get",
    "pods",
    "first",
    "second",
    "-o",
    "jsonpath={.items[*].status.startTime}",
  );
  const [first = "", second = ""] = times.split(" ");
  expect(Date.parse(first)).toBeLessThanOrEqual(Date.parse(second));
  expect(await kubectl("logs", "second")).toBe("second ran");
  expect(await kubectl("get", "configmap", "hooked", "-o", "jsonpath={.data.uid}")).toMatch(
    /^[0-9a-f-]{36}$/,
  );
  expect(await helm("test", "hooked", "--logs")).toContain("check ran");
  await helm("uninstall", "hooked", "--wait");
  expect(await kubectl("get", "configmap", "hooked", "--ignore-not-found")).toBe("");
});
