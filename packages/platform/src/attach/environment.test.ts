import { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { configMaps, secrets } from "@kws/kube/resources";
import { createMemoryApi } from "@kws/kube/testing/memory-api";
import { expect, test } from "vitest";
import { environmentOf, filesOf, relocate, Sources } from "./environment.ts";
import { hostsLines, type LocalName, rewriteHosts } from "./names.ts";

const namespace = "shop";
const base64 = (text: string) => Buffer.from(text).toString("base64");

async function sources(): Promise<Sources> {
  const client = new KubeClient(createMemoryApi());
  const metadata = { name: "orders", namespace };
  await client.create(configMaps, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata,
    data: { LEVEL: "info", "app.yaml": "a: 1" },
    binaryData: { logo: base64("png") },
  });
  await client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata,
    data: { TOKEN: base64("s3cret") },
  });
  return new Sources(client, namespace);
}

const pod: KubeObject = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "orders-1", namespace, labels: { app: "orders" } },
  spec: {
    volumes: [
      { name: "config", configMap: { name: "orders" } },
      { name: "token", secret: { secretName: "orders", items: [{ key: "TOKEN", path: "a/token" }] } },
      {
        name: "all",
        projected: {
          sources: [
            { secret: { name: "orders" } },
            { downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] } },
          ],
        },
      },
      { name: "data", persistentVolumeClaim: { claimName: "data" } },
    ],
  },
  status: { podIP: "10.0.0.7" },
};

test("variables come from where the kubelet takes them, the later ones over the earlier", async () => {
  const container = {
    name: "web",
    envFrom: [{ prefix: "C_", configMapRef: { name: "orders" } }, { secretRef: { name: "orders" } }],
    env: [
      { name: "C_LEVEL", value: "debug" },
      { name: "URL", value: "http://x/$(C_LEVEL)/$(NOBODY)/$$(C_LEVEL)" },
      { name: "KEY", valueFrom: { secretKeyRef: { name: "orders", key: "TOKEN" } } },
      { name: "NONE", valueFrom: { configMapKeyRef: { name: "gone", key: "x", optional: true } } },
      { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "APP", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
    ],
  };
  expect(await environmentOf(pod, container, await sources())).toEqual({
    C_LEVEL: "debug",
    "C_app.yaml": "a: 1",
    C_logo: "png",
    TOKEN: "s3cret",
    URL: "http://x/debug/$(NOBODY)/$(C_LEVEL)",
    KEY: "s3cret",
    IP: "10.0.0.7",
    APP: "orders",
  });
});

test("files come from volumes; what is no configuration stays in the cluster", async () => {
  const container = {
    name: "web",
    volumeMounts: [
      { name: "config", mountPath: "/etc/app/app.yaml", subPath: "app.yaml" },
      { name: "token", mountPath: "/run/token" },
      { name: "all", mountPath: "/all" },
      { name: "data", mountPath: "/data" },
    ],
  };
  const { files, missing } = await filesOf(pod, container, await sources());
  expect(Object.fromEntries([...files].map(([path, bytes]) => [path, bytes.toString()]))).toEqual({
    "/etc/app/app.yaml": "a: 1",
    "/run/token/a/token": "s3cret",
    "/all/TOKEN": "s3cret",
    "/all/name": "orders-1",
  });
  expect(missing).toEqual(["/data"]);
});

test("variables that name a mounted file lead to it, and others stay", () => {
  const env = { A: "/etc/app/app.yaml", B: "/etc/app", C: "/etc/application", D: "see /etc/app" };
  expect(relocate(env, ["/etc/app"], "/mem")).toEqual({
    ...env,
    A: "/mem/etc/app/app.yaml",
    B: "/mem/etc/app",
  });
});

const names: LocalName[] = [
  { name: "payments", namespace, address: "127.0.0.1", ports: new Map([[80, 8080]]) },
  { name: "postgres", namespace, address: "127.0.0.1", ports: new Map([[5432, 5432]]) },
];

test.each([
  ["http://payments", "http://127.0.0.1:8080"],
  ["http://payments/api?x=1", "http://127.0.0.1:8080/api?x=1"],
  ["payments.shop.svc:80", "127.0.0.1:8080"],
  ["postgres://me:pw@postgres:5432/db", "postgres://me:pw@127.0.0.1:5432/db"],
  ["http://payments,http://payments:80", "http://127.0.0.1:8080,http://127.0.0.1:8080"],
  ["https://payments.example.com", "https://payments.example.com"],
  ["payments", "payments"],
  ["my-payments:80", "my-payments:80"],
  ["http://payments:9999", "http://payments:9999"],
])("%s becomes %s", (value, expected) => {
  expect(rewriteHosts(value, names, false)).toBe(expected);
});

test("where names are known, only ports that moved are written anew", () => {
  expect(rewriteHosts("postgres://postgres:5432/db", names, true)).toBe("postgres://postgres:5432/db");
  expect(rewriteHosts("http://payments", names, true)).toBe("http://127.0.0.1:8080");
  expect(hostsLines(names.slice(0, 1))).toBe(
    "127.0.0.1\tpayments payments.shop payments.shop.svc payments.shop.svc.cluster.local\n",
  );
});
