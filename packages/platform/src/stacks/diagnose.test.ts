import type { KubeObject } from "@kws/kube/object";
import { expect, test } from "vitest";
import { hookJobs, type NamespaceObjects, workloadsOf } from "../services/workloads.ts";
import { diagnose, diagnoseHooks, hasSettled, stuckPods } from "./diagnose.ts";

const now = Date.parse("2026-01-01T00:10:00Z");
const annotations = { "meta.helm.sh/release-name": "api" };

function objects(pods: KubeObject[] = [], extra: Partial<NamespaceObjects> = {}): NamespaceObjects {
  const deployment: KubeObject = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "api", uid: "d", generation: 2, annotations },
    spec: { replicas: 1, selector: { matchLabels: { app: "api" } }, template: {} },
    status: { observedGeneration: 2, replicas: 1, updatedReplicas: 1 },
  };
  const set = (uid: string, revision: string): KubeObject => ({
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `api-${uid}`,
      uid,
      annotations: { "deployment.kubernetes.io/revision": revision },
      ownerReferences: [{ apiVersion: "apps/v1", kind: "Deployment", name: "api", uid: "d" }],
    },
  });
  return {
    deployments: [deployment],
    statefulSets: [],
    daemonSets: [],
    jobs: [],
    replicaSets: [set("old", "9"), set("new", "10")],
    pods,
    ...extra,
  };
}

function pod(status: object, options: { set?: string; spec?: object } = {}): KubeObject {
  const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "rs", uid: options.set ?? "new" };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "api-1", uid: "p", labels: { app: "api" }, ownerReferences: [owner] },
    spec: { containers: [{ name: "main", image: "example/api:1" }], ...options.spec },
    status,
  };
}

const container = (fields: object) => ({
  containerStatuses: [{ name: "main", ready: false, restartCount: 0, ...fields }],
});
const fault = (one: KubeObject) => diagnose(workloadsOf(objects([one]), "api"), now);

test("a second crash is a fault, a first one is not", () => {
  const crash = (restartCount: number) =>
    pod(
      container({
        restartCount,
        state: { waiting: { reason: "CrashLoopBackOff" } },
        lastState: { terminated: { exitCode: 3 } },
      }),
    );
  expect(fault(crash(0))).toBeUndefined();
  expect(fault(crash(1))).toMatchObject({
    reason: "CrashLoopBackOff",
    message: "main ended with exit code 3, 2 times",
    pod: "api-1",
    container: "main",
    previous: true,
  });
});

test("the message that a container leaves when it ends is told, unless it is the end of its log", () => {
  const crash = (message: string) =>
    fault(
      pod(
        container({
          restartCount: 1,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 1, message } },
        }),
      ),
    )?.message;
  expect(crash("set runAsUser\n")).toBe("main ended with exit code 1, 2 times: set runAsUser");
  expect(crash("one\ntwo\n")).toBe("main ended with exit code 1, 2 times");
});

test("an image that cannot be pulled is a fault that names the image", () => {
  const state = { waiting: { reason: "ImagePullBackOff", message: "not found" } };
  expect(fault(pod(container({ state })))?.message).toBe("example/api:1: not found");
  expect(fault(pod(container({ state: { waiting: { reason: "ErrImagePull" } } })))).toBeUndefined();
});

test("a configuration that cannot be used is a fault", () => {
  const waiting = { reason: "CreateContainerConfigError", message: 'secret "x" not found' };
  expect(fault(pod(container({ state: { waiting } })))).toMatchObject(waiting);
});

test("a probe that does not pass is a fault once its time is over", () => {
  const spec = { containers: [{ name: "main", readinessProbe: { periodSeconds: 5, failureThreshold: 2 } }] };
  const since = (time: string) => pod(container({ state: { running: { startedAt: time } } }), { spec });
  expect(fault(since("2026-01-01T00:09:35Z"))).toBeUndefined();
  expect(fault(since("2026-01-01T00:09:25Z"))).toMatchObject({ reason: "Unhealthy" });
});

test("a container that was ready until a moment ago has all of its time again", () => {
  const spec = { containers: [{ name: "main", readinessProbe: { periodSeconds: 5, failureThreshold: 2 } }] };
  const until = (lastTransitionTime: string) => {
    const state = { running: { startedAt: "2026-01-01T00:00:00Z" } };
    const conditions = [{ type: "Ready", status: "False", lastTransitionTime }];
    return fault(pod({ ...container({ state }), conditions }, { spec }))?.reason;
  };
  expect(until("2026-01-01T00:09:45Z")).toBeUndefined();
  expect(until("2026-01-01T00:09:25Z")).toBe("Unhealthy");
});

test("a pod that no node takes is a fault after a moment", () => {
  const unschedulable = (lastTransitionTime: string) =>
    pod({
      conditions: [
        {
          type: "PodScheduled",
          status: "False",
          reason: "Unschedulable",
          message: "insufficient cpu",
          lastTransitionTime,
        },
      ],
    });
  expect(fault(unschedulable("2026-01-01T00:09:55Z"))).toBeUndefined();
  expect(fault(unschedulable("2026-01-01T00:09:00Z"))).toMatchObject({ message: "insufficient cpu" });
});

test("pods of an older template are not looked at", () => {
  const waiting = { reason: "ImagePullBackOff" };
  expect(fault(pod(container({ state: { waiting } }), { set: "old" }))).toBeUndefined();
});

test("a Deployment is done when all replicas are of the new template and available", () => {
  const done = (status: object) => {
    const all = objects();
    const [deployment] = all.deployments;
    if (deployment !== undefined) deployment["status"] = { observedGeneration: 2, ...status };
    return workloadsOf(all, "api")[0]?.done;
  };
  const conditions = [{ type: "Available", status: "True" }];
  const all = { replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, conditions };
  expect(done(all)).toBe(true);
  expect(done({ ...all, replicas: 2, availableReplicas: 2 })).toBe(false);
  expect(done({ ...all, observedGeneration: 1 })).toBe(false);
});

test("a hook Job that failed is a fault with its pod's exit code", () => {
  const job: KubeObject = {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: "api-migrate",
      uid: "j",
      annotations: { "helm.sh/hook": "pre-install" },
      labels: { "app.kubernetes.io/instance": "api" },
    },
    status: { conditions: [{ type: "Failed", status: "True", reason: "BackoffLimitExceeded" }] },
  };
  const failed = pod(
    { phase: "Failed", ...container({ state: { terminated: { exitCode: 4 } } }) },
    { set: "j" },
  );
  const all = objects([failed], { jobs: [job] });
  expect(workloadsOf(all, "api").map((workload) => workload.kind)).toEqual(["Deployment"]);
  expect(hookJobs(all, "other")).toEqual([]);
  expect(diagnoseHooks(all, { service: "api", release: "api" }, now)).toEqual({
    reason: "BackoffLimitExceeded",
    message: "the Job api-migrate failed with exit code 4",
    pod: "api-1",
    container: "main",
  });
});

test("a container that nothing probes counts once it has run for a moment", () => {
  const settled = (startedAt: string, spec = {}) => {
    const one = pod(container({ ready: true, state: { running: { startedAt } } }), { spec });
    return workloadsOf(objects([one]), "api").every((workload) => hasSettled(workload, now));
  };
  expect(settled("2026-01-01T00:09:59Z")).toBe(false);
  expect(settled("2026-01-01T00:09:58Z")).toBe(true);
  expect(settled("2026-01-01T00:09:59Z", { containers: [{ name: "main", readinessProbe: {} }] })).toBe(true);
});

test("a broken pod of an older template is in the way of a StatefulSet, and is not taken for the new one's", () => {
  const set = (observedGeneration: number): KubeObject => ({
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "db", uid: "s", generation: 2, annotations },
    spec: { replicas: 1, updateStrategy: { type: "RollingUpdate" } },
    status: { observedGeneration, currentRevision: "db-1", updateRevision: "db-2" },
  });
  const one = (revision: string) => {
    const state = { waiting: { reason: "CrashLoopBackOff" } };
    const broken = pod(container({ restartCount: 2, state }), { set: "s" });
    broken.metadata.labels = { "controller-revision-hash": revision };
    return broken;
  };
  const look = (revision: string, generation = 2) => {
    const all = objects([one(revision)], { deployments: [], statefulSets: [set(generation)] });
    const workloads = workloadsOf(all, "api");
    return { stuck: stuckPods(workloads, now).length, fault: diagnose(workloads, now)?.reason };
  };
  expect(look("db-1")).toEqual({ stuck: 1, fault: undefined });
  expect(look("db-2")).toEqual({ stuck: 0, fault: "CrashLoopBackOff" });
  expect(look("db-1", 1)).toEqual({ stuck: 0, fault: undefined });
});
