import { describe, expect, test } from "vitest";
import type { ReplicaSet } from "./replicaset.ts";
import {
  annotation,
  fenceposts,
  newSetSize,
  proportionalScaling,
  shrinkOldSets,
  type Deployment,
} from "./rollout.ts";

function deployment(
  replicas: number,
  maxSurge: number | string,
  maxUnavailable: number | string,
): Deployment {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas,
      selector: {},
      template: { spec: {} },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable } },
    },
  };
}

function set(name: string, replicas: number, available: number, maxReplicas = 0): ReplicaSet {
  const annotations = { [annotation.maxReplicas]: String(maxReplicas) };
  const status = { replicas, availableReplicas: available };
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: { name, annotations },
    spec: { replicas },
    status,
  };
}

const sizes = (scalings: { set: ReplicaSet; replicas: number }[]): Record<string, number> =>
  Object.fromEntries(scalings.map(({ set: { metadata }, replicas }) => [metadata.name, replicas]));

describe("a rolling update", () => {
  test.each([
    [10, "25%", "25%", { maxSurge: 3, maxUnavailable: 2 }],
    [1, "25%", "25%", { maxSurge: 1, maxUnavailable: 0 }],
    [3, 0, "10%", { maxSurge: 0, maxUnavailable: 1 }],
    [2, 0, 5, { maxSurge: 0, maxUnavailable: 2 }],
  ])(
    "of %i replicas with surge %s and unavailable %s moves within %j",
    (replicas, surge, unavailable, expected) => {
      expect(fenceposts(deployment(replicas, surge, unavailable))).toEqual(expected);
    },
  );

  test("grows the new set into the surge only", () => {
    const old = set("old", 4, 4);
    expect(newSetSize(deployment(4, 1, 0), [old], undefined)).toBe(1);
    expect(newSetSize(deployment(4, 1, 0), [old, set("new", 1, 0)], set("new", 1, 0))).toBe(1);
  });

  test("takes unhealthy old pods away before healthy ones", () => {
    const scalings = shrinkOldSets(deployment(4, 1, 1), set("new", 1, 1), [set("a", 2, 2), set("b", 2, 0)]);
    expect(sizes(scalings)).toEqual({ b: 0 });
  });

  test("shrinks nothing while the new pods are not available", () => {
    expect(shrinkOldSets(deployment(4, 1, 0), set("new", 1, 0), [set("old", 4, 4)])).toEqual([]);
  });

  test("spreads a change of size in proportion", () => {
    const scalings = proportionalScaling(deployment(15, 3, 2), set("new", 5, 5, 13), [set("old", 8, 8, 13)]);
    expect(sizes(scalings)).toEqual({ old: 11, new: 7 });
  });
});
