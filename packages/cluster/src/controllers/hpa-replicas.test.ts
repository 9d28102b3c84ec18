import { expect, test } from "vitest";
import type { Pod } from "./pods.ts";
import { replicasFor, type PodMetric, type ReplicaQuestion } from "./hpa-replicas.ts";

const now = Date.parse("2026-01-01T01:00:00Z");
const ago = (seconds: number) => new Date(now - seconds * 1000).toISOString();

interface State {
  uses?: number;
  phase?: string;
  ready?: "True" | "False";
  /** Seconds since it started, and since it became ready or unready. */
  started?: number;
  changed?: number;
  request?: string | undefined;
  deleted?: boolean;
}

function ask(states: State[], more: Partial<ReplicaQuestion> = {}) {
  const metrics = new Map<string, PodMetric>();
  const pods = states.map((state, index): Pod => {
    const { uses, phase = "Running", ready = "True", started = 3600, changed = 3500 } = state;
    const name = `p${index}`;
    if (uses !== undefined) {
      metrics.set(name, { time: now, windowMs: 15_000, containers: new Map([["main", uses]]) });
    }
    const requests = "request" in state ? (state.request ? { cpu: state.request } : {}) : { cpu: "1" };
    return {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, ...(state.deleted ? { deletionTimestamp: ago(1) } : {}) },
      spec: { containers: [{ name: "main", resources: { requests } }] },
      status: {
        phase,
        startTime: ago(started),
        conditions: [{ type: "Ready", status: ready, lastTransitionTime: ago(changed) }],
      },
    };
  });
  const tolerance = { up: 0.1, down: 0.1 };
  return replicasFor({
    resource: "cpu",
    target: { utilization: 50 },
    pods,
    metrics,
    current: states.length,
    tolerance,
    now,
    ...more,
  });
}

test("replicas follow the ratio of what is used and what is wanted", () => {
  expect(ask([{ uses: 1 }, { uses: 1 }])).toEqual({ replicas: 4, average: 1, utilization: 100 });
  expect(ask([{ uses: 0.1 }, { uses: 0.2 }, { uses: 0.3 }]).replicas).toBe(2);
  expect(ask([{ uses: 1 }, { uses: 3 }], { target: { average: 0.5 } })).toEqual({ replicas: 8, average: 2 });
});

test("within the tolerance nothing changes, and each direction may have its own", () => {
  expect(ask([{ uses: 0.55 }, { uses: 0.55 }]).replicas).toBe(2);
  expect(ask([{ uses: 0.56 }, { uses: 0.56 }]).replicas).toBe(3);
  expect(ask([{ uses: 0.56 }, { uses: 0.56 }], { tolerance: { up: 0.2, down: 0 } }).replicas).toBe(2);
});

test("a pod that is not measured counts as idle where there would be more, and as busy where fewer", () => {
  expect(ask([{ uses: 1 }, { uses: 1 }, {}]).replicas).toBe(4);
  expect(ask([{ uses: 0.6 }, { uses: 0.6 }, {}]).replicas).toBe(3);
  expect(ask([{ uses: 0.1 }, { uses: 0.1 }, {}]).replicas).toBe(3);
  expect(ask([{ uses: 0 }, { uses: 0 }, { uses: 0 }, {}], { target: { average: 1 } }).replicas).toBe(1);
});

test("one that starts, or waits, counts for nothing where there would be more, and not at all otherwise", () => {
  const starting: State[] = [
    { phase: "Pending" },
    { uses: 5, ready: "False", started: 20, changed: 20 },
    { uses: 5, ready: "True", started: 20, changed: 5 },
    { uses: 5, ready: "False", started: 3600, changed: 3590 },
  ];
  for (const pod of starting) {
    expect(ask([{ uses: 1 }, { uses: 1 }, pod])).toEqual({ replicas: 4, average: 1, utilization: 100 });
    expect(ask([{ uses: 0.2 }, { uses: 0.2 }, pod]).replicas).toBe(1);
  }
  // Ready for a whole window, and one that was ready before.
  expect(ask([{ uses: 1 }, { uses: 1, started: 60, changed: 30 }]).replicas).toBe(4);
  expect(ask([{ uses: 1 }, { uses: 1, ready: "False", started: 3600, changed: 10 }]).replicas).toBe(4);
});

test("pods that failed or end are left out", () => {
  expect(ask([{ uses: 1 }, { uses: 9, deleted: true }, { uses: 9, phase: "Failed" }]).replicas).toBe(2);
});

test("one container of each pod may be asked for", () => {
  expect(ask([{ uses: 1 }], { container: "main" }).replicas).toBe(2);
  expect(() => ask([{ uses: 1 }], { container: "other" })).toThrow("container other not found in pod p0");
});

test("where nothing can be said it throws", () => {
  expect(() => ask([])).toThrow("no pods returned by selector");
  expect(() => ask([{}])).toThrow("did not receive metrics for any ready pods");
  expect(() => ask([{ uses: 1, request: undefined }])).toThrow(
    "missing request for cpu in container main of Pod p0",
  );
});
