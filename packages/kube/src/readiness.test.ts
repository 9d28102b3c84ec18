import { describe, expect, test } from "vitest";
import type { KubeObject } from "./object.ts";
import { readinessOf } from "./readiness.ts";

function object(apiVersion: string, kind: string, spec: object, status?: object): KubeObject {
  return { apiVersion, kind, metadata: { name: "x", generation: 2 }, spec, ...(status && { status }) };
}

describe("readiness", () => {
  const counts = {
    observedGeneration: 2,
    replicas: 2,
    updatedReplicas: 2,
    availableReplicas: 2,
    readyReplicas: 2,
  };
  const available = { type: "Available", status: "True" };

  test.each([
    ["Current", { ...counts, conditions: [available] }],
    ["InProgress", { ...counts, observedGeneration: 1, conditions: [available] }],
    ["InProgress", { ...counts, replicas: 3, conditions: [available] }],
    ["InProgress", { ...counts, availableReplicas: 1, conditions: [available] }],
    [
      "Failed",
      {
        ...counts,
        conditions: [{ type: "Progressing", status: "False", reason: "ProgressDeadlineExceeded" }],
      },
    ],
  ])("of a Deployment is %s for %j", (expected, status) => {
    expect(readinessOf(object("apps/v1", "Deployment", { replicas: 2 }, status)).status).toBe(expected);
  });

  test("of a pod in a crash loop is failed and names the container", () => {
    const waiting = { reason: "CrashLoopBackOff", message: "back-off 10s" };
    const status = { phase: "Running", containerStatuses: [{ name: "web", state: { waiting } }] };
    expect(readinessOf(object("v1", "Pod", {}, status))).toEqual({
      status: "Failed",
      message: "container web is in CrashLoopBackOff: back-off 10s",
    });
  });

  test("of a Job follows its terminal conditions", () => {
    const done = (type: string): KubeObject =>
      object("batch/v1", "Job", {}, { conditions: [{ type, status: "True", message: "because" }] });
    expect(readinessOf(done("Complete")).status).toBe("Current");
    expect(readinessOf(done("Failed"))).toEqual({ status: "Failed", message: "because" });
    expect(readinessOf(object("batch/v1", "Job", {}, { startTime: "now", active: 1 })).status).toBe(
      "InProgress",
    );
  });

  test("of an unknown kind is current unless its Ready condition says otherwise", () => {
    const ready = (status: string): object => ({ conditions: [{ type: "Ready", status }] });
    expect(readinessOf(object("x.io/v1", "Thing", {})).status).toBe("Current");
    expect(readinessOf(object("x.io/v1", "Thing", {}, ready("False"))).status).toBe("InProgress");
    expect(readinessOf(object("x.io/v1", "Thing", {}, ready("True"))).status).toBe("Current");
  });

  test("of anything being deleted is terminating", () => {
    const leaving = object("v1", "ConfigMap", {});
    leaving.metadata.deletionTimestamp = "2026-01-01T00:00:00Z";
    expect(readinessOf(leaving).status).toBe("Terminating");
  });
});
