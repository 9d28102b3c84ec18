import type { KubeObject } from "@kws/kube/object";
import { expect, test } from "vitest";
import { buildCommand, buildEnvironment, serviceVariables, type EnvironmentSource } from "./environment.ts";
import { expand, expandStrictly } from "./expand.ts";
import type { Pod } from "./pod.ts";

const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", namespace: "ns", labels: { app: "x" } },
  spec: { containers: [{ name: "c", image: "i", resources: { limits: { cpu: "1500m", memory: "64Mi" } } }] },
};
const source: EnvironmentSource = {
  pod,
  machine: { cpu: 4, memory: 8 * 2 ** 30, ephemeralStorage: 1 },
  configMap: async (name) =>
    name === "cm" ? ({ data: { A: "1", B: "2" } } as unknown as KubeObject) : undefined,
  secret: async (name) =>
    name === "s"
      ? ({ data: { TOKEN: Buffer.from("hush").toString("base64") } } as unknown as KubeObject)
      : undefined,
  services: [],
};

test("references expand, escapes stay and unknown names are left alone", () => {
  const values = { A: "1", B: "" };
  expect(expand("$(A)-$(B)-$(C)-$$(A)-$A-$", values)).toBe("1--$(C)-$(A)-$A-$");
  expect(() => expandStrictly("$(C)", values)).toThrow('missing value for "C"');
});

test("the environment is image, envFrom, env in that order, each seeing what stands before", async () => {
  const env = await buildEnvironment(
    {
      name: "c",
      image: "i",
      resources: pod.spec.containers[0]?.resources,
      envFrom: [
        { prefix: "P_", configMapRef: { name: "cm" } },
        { configMapRef: { name: "none", optional: true } },
      ],
      env: [
        { name: "X", value: "$(P_A)$(LATER)" },
        { name: "LATER", valueFrom: { secretKeyRef: { name: "s", key: "TOKEN" } } },
        { name: "LABEL", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
        { name: "MILLI", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
        { name: "GONE", valueFrom: { configMapKeyRef: { name: "cm", key: "Z", optional: true } } },
      ],
    },
    { Env: ["X=image", "KEPT=yes"] },
    source,
  );
  expect(env).toEqual({
    X: "1$(LATER)",
    KEPT: "yes",
    P_A: "1",
    P_B: "2",
    LATER: "hush",
    LABEL: "x",
    CPU: "2",
    MILLI: "1500",
  });
});

test("a missing key or object is named", async () => {
  const missing = (configMapKeyRef: { name: string; key: string }) =>
    buildEnvironment(
      { name: "c", image: "i", env: [{ name: "X", valueFrom: { configMapKeyRef } }] },
      {},
      source,
    );
  await expect(missing({ name: "cm", key: "Z" })).rejects.toThrow("couldn't find key Z in ConfigMap ns/cm");
  await expect(missing({ name: "no", key: "Z" })).rejects.toThrow('configmap "no" not found');
});

test("command replaces entrypoint and arguments, args the arguments alone", () => {
  const image = { Entrypoint: ["/e"], Cmd: ["d"] };
  const of = (command?: string[], args?: string[]) =>
    buildCommand({ name: "c", image: "i", command, args }, image, { A: "1" });
  expect(of()).toEqual(["/e", "d"]);
  expect(of(undefined, ["$(A)"])).toEqual(["/e", "1"]);
  expect(of(["/c"])).toEqual(["/c"]);
  expect(of(["/c"], ["a"])).toEqual(["/c", "a"]);
});

test("services give their addresses as variables", () => {
  const service: KubeObject = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "my-db" },
    spec: { clusterIP: "10.96.0.7", ports: [{ name: "sql", port: 5432 }] },
  };
  expect(serviceVariables([service])).toMatchObject({
    MY_DB_SERVICE_HOST: "10.96.0.7",
    MY_DB_SERVICE_PORT: "5432",
    MY_DB_SERVICE_PORT_SQL: "5432",
    MY_DB_PORT: "tcp://10.96.0.7:5432",
    MY_DB_PORT_5432_TCP_ADDR: "10.96.0.7",
  });
});
