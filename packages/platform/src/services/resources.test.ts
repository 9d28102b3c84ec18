import { KubeClient } from "@kws/kube/client";
import type { Transport } from "@kws/kube/transport";
import { expect, test } from "vitest";
import { memoryCommitment, memoryRequests, podResources } from "./resources.ts";

/** Answers lists by path; what is not there is a 404. */
function clientOf(lists: Record<string, unknown[]>): KubeClient {
  const transport: Transport = {
    request: async ({ path }) => {
      const items = lists[path];
      const status = { kind: "Status", status: "Failure", reason: "NotFound", code: 404 };
      const body = items === undefined ? status : { metadata: { resourceVersion: "1" }, items };
      return {
        status: items === undefined ? 404 : 200,
        headers: {},
        body: (async function* () {
          yield Buffer.from(JSON.stringify(body));
        })(),
      };
    },
  };
  return new KubeClient(transport);
}

const pod = (name: string, containers: object[], phase = "Running") => ({
  metadata: { name },
  spec: { containers: containers.map((resources) => ({ resources })) },
  status: { phase },
});
const { signal } = new AbortController();

test("a pod's shares are the sums over its containers, with what is measured", async () => {
  const client = clientOf({
    "/api/v1/namespaces/shop/pods": [
      pod("a", [
        { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "1", memory: "128Mi" } },
        { limits: { cpu: "500m" } },
      ]),
      pod("b", [{}]),
    ],
    "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods": [
      { metadata: { name: "a" }, containers: [{ usage: { cpu: "250000000n", memory: "1024Ki" } }] },
    ],
  });
  const found = await podResources(client, "shop", signal);
  expect(found.get("a")).toEqual({
    cpu: { used: 0.25, requested: 0.6, limit: 1.5 },
    memory: { used: 2 ** 20, requested: 64 * 2 ** 20 },
  });
  expect(found.get("b")).toEqual({ cpu: { requested: 0 }, memory: { requested: 0 } });
});

test("without metrics there is nothing used, and it is no failure", async () => {
  const client = clientOf({ "/api/v1/namespaces/shop/pods": [pod("a", [{}])] });
  expect((await podResources(client, "shop", signal)).get("a")?.cpu).toEqual({ requested: 0 });
});

test("memory is asked for by what is there and stays there", async () => {
  const client = clientOf({
    "/api/v1/nodes": [{ metadata: { name: "n" }, status: { allocatable: { memory: "1Gi" } } }],
    "/api/v1/pods": [
      pod("limited", [{ limits: { memory: "512Mi" } }]),
      pod("asking", [{ requests: { memory: "256Mi" }, limits: { memory: "2Gi" } }]),
      pod("replaced", [{ requests: { memory: "3Gi" } }]),
      pod("ended", [{ requests: { memory: "4Gi" } }], "Succeeded"),
    ],
  });
  const found = await memoryRequests(client, ({ metadata }) => metadata.name === "replaced", signal);
  expect(found).toEqual({ requested: 768 * 2 ** 20, allocatable: 2 ** 30 });
});

test("memory is promised by limits, by requests without them, and by nothing that has ended", async () => {
  const client = clientOf({
    "/api/v1/nodes": [{ metadata: { name: "n" }, status: { allocatable: { memory: "1Gi" } } }],
    "/api/v1/pods": [
      pod("limited", [{ requests: { memory: "1Mi" }, limits: { memory: "512Mi" } }]),
      pod("asking", [{ requests: { memory: "256Mi" } }]),
      pod("ended", [{ limits: { memory: "4Gi" } }], "Succeeded"),
    ],
  });
  expect(await memoryCommitment(client, signal)).toEqual({ promised: 768 * 2 ** 20, allocatable: 2 ** 30 });
});
