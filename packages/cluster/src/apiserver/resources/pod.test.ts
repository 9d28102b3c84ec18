import { describe, expect, test } from "vitest";
import type { KubeObject } from "@kws/kube/object";
import { pullPolicyOf } from "./pod-defaults.ts";
import { pod } from "./pod.ts";

const now = Date.parse("2026-01-01T01:00:00Z");

function podOf(spec: object = {}, status: object = {}, metadata: object = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a", namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
    spec: { containers: [{ name: "app", image: "nginx:1" }], ...spec },
    status,
  };
}

function problems(spec: object): string[] {
  const object = podOf(spec);
  pod.setDefaults?.(object);
  return (pod.validate?.(object) ?? []).map(({ field, message }) => `${field}: ${message}`);
}

test("fills in what upstream fills in", () => {
  const object = podOf({
    containers: [
      {
        name: "app",
        image: "nginx",
        ports: [{ containerPort: 80 }],
        resources: { limits: { cpu: "0.5" } },
        livenessProbe: { httpGet: { port: 80 } },
      },
    ],
    volumes: [{ name: "s", secret: { secretName: "x" } }, { name: "e" }],
  });
  pod.setDefaults?.(object);
  expect(object["spec"]).toMatchObject({
    dnsPolicy: "ClusterFirst",
    enableServiceLinks: true,
    restartPolicy: "Always",
    schedulerName: "default-scheduler",
    securityContext: {},
    terminationGracePeriodSeconds: 30,
    containers: [
      {
        imagePullPolicy: "Always",
        ports: [{ containerPort: 80, protocol: "TCP" }],
        resources: { limits: { cpu: "500m" }, requests: { cpu: "500m" } },
        terminationMessagePath: "/dev/termination-log",
        terminationMessagePolicy: "File",
        livenessProbe: {
          failureThreshold: 3,
          httpGet: { path: "/", port: 80, scheme: "HTTP" },
          periodSeconds: 10,
          successThreshold: 1,
          timeoutSeconds: 1,
        },
      },
    ],
    volumes: [
      { name: "s", secret: { secretName: "x", defaultMode: 420 } },
      { name: "e", emptyDir: {} },
    ],
  });
});

test.each([
  ["nginx", "Always"],
  ["nginx:latest", "Always"],
  ["localhost:5000/nginx", "Always"],
  ["nginx:1.27", "IfNotPresent"],
  ["nginx@sha256:abc", "IfNotPresent"],
])("image %s is pulled %s", (image, policy) => {
  expect(pullPolicyOf(image)).toBe(policy);
});

describe("validation", () => {
  test.each([
    [{ containers: [] }, "spec.containers: Required value"],
    [{ containers: [{ name: "a" }] }, "spec.containers[0].image: Required value"],
    [
      { containers: [{ name: "a", image: "x", volumeMounts: [{ name: "v", mountPath: "/v" }] }] },
      'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ],
    [
      { containers: [{ name: "a", image: "x", ports: [{ containerPort: 70000 }] }] },
      "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ],
    [
      {
        containers: [{ name: "a", image: "x", resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }],
      },
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
    [
      {
        containers: [
          { name: "a", image: "x" },
          { name: "a", image: "x" },
        ],
      },
      'spec.containers[1].name: Duplicate value: "a"',
    ],
    [
      { restartPolicy: "Sometimes" },
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ],
  ])("%j is refused", (spec, message) => {
    expect(problems(spec)).toEqual([message]);
  });

  test("accepts a plain pod", () => {
    expect(problems({})).toEqual([]);
  });

  test("an update may change the image and nothing structural", () => {
    const old = podOf();
    pod.setDefaults?.(old);
    const image = structuredClone(old);
    image["spec"].containers[0].image = "nginx:2";
    expect(pod.validate?.(image, old)).toEqual([]);
    const command = structuredClone(old);
    command["spec"].containers[0].command = ["true"];
    expect(pod.validate?.(command, old)?.map(({ reason }) => reason)).toEqual(["FieldValueForbidden"]);
    const bound = structuredClone(old);
    bound["spec"].nodeName = "n";
    expect(pod.validate?.(bound, old)).toEqual([]);
  });
});

describe("STATUS", () => {
  const running = { name: "app", ready: true, restartCount: 0, state: { running: {} } };
  const initializing = [{ name: "i", restartCount: 0, state: { running: {} } }];
  test.each<[string, KubeObject, string[]]>([
    [
      "running",
      podOf({}, { phase: "Running", containerStatuses: [running] }),
      ["1/1", "Running", "0", "60m"],
    ],
    ["pending", podOf({}, { phase: "Pending" }), ["0/1", "Pending", "0", "60m"]],
    [
      "initializing",
      podOf(
        { initContainers: [{ name: "i" }, { name: "j" }] },
        { phase: "Pending", initContainerStatuses: initializing },
      ),
      ["0/1", "Init:0/2", "0", "60m"],
    ],
    [
      "a sidecar counts",
      podOf(
        { initContainers: [{ name: "i", restartPolicy: "Always" }] },
        {
          phase: "Running",
          initContainerStatuses: [{ ...running, name: "i", started: true }],
          containerStatuses: [running],
        },
      ),
      ["2/2", "Running", "0", "60m"],
    ],
    [
      "crashing",
      podOf(
        {},
        {
          phase: "Running",
          containerStatuses: [
            {
              name: "app",
              ready: false,
              restartCount: 3,
              state: { waiting: { reason: "CrashLoopBackOff" } },
              lastState: { terminated: { finishedAt: "2026-01-01T00:58:00Z" } },
            },
          ],
        },
      ),
      ["0/1", "CrashLoopBackOff", "3 (2m ago)", "60m"],
    ],
    [
      "completed",
      podOf(
        {},
        {
          phase: "Succeeded",
          containerStatuses: [
            { name: "app", restartCount: 0, state: { terminated: { reason: "Completed", exitCode: 0 } } },
          ],
        },
      ),
      ["0/1", "Completed", "0", "60m"],
    ],
    [
      "going",
      podOf(
        {},
        { phase: "Running", containerStatuses: [running] },
        { deletionTimestamp: "2026-01-01T00:59:00Z" },
      ),
      ["1/1", "Terminating", "0", "60m"],
    ],
  ])("of a pod that is %s", (_case, object, cells) => {
    expect(pod.row(object, now).slice(1, 5)).toEqual(cells);
  });
});
