/** Answers `metrics.k8s.io`, for `kubectl top` and autoscalers, with what the node measures now. */
import { apiError } from "@kws/kube/status";
import type { KubeObject } from "@kws/kube/object";
import type { Amount, Usage } from "../kubelet/usage.ts";
import type { Stored } from "../storage/stored.ts";
import { type ServerContext, timestamp } from "./context.ts";
import { notFound } from "./failures.ts";
import type { Target } from "./reads.ts";
import { renderingOf } from "./rendering.ts";
import { textResponse, type ApiResponse } from "./request.ts";
import { selectionOf } from "./selection.ts";

export async function metrics(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const rendering = renderingOf(request, definition, context.now);
  const streams = context.streams();
  if (streams === undefined) throw apiError("ServiceUnavailable", "the node is not ready to be measured");
  const measured = await streams.usage();
  const isNodes = definition.resource === "nodes";
  const prefix = path.namespace === undefined ? "" : `${path.namespace}/`;
  const sources = context.store.list(isNodes ? "nodes" : "pods", prefix);
  const items = sources.flatMap(({ key, revision, object }): Stored[] => {
    const found = isNodes ? nodeMetrics(object, measured) : podMetrics(object, measured);
    return found === undefined ? [] : [{ key, revision, object: found, json: JSON.stringify(found) }];
  });
  if (path.name !== undefined) {
    const wanted = items.find(({ object }) => object.metadata.name === path.name);
    if (wanted === undefined) throw notFound(definition, path.name);
    return textResponse(200, rendering.object(wanted));
  }
  const selection = selectionOf(definition, request.query);
  const chosen = items.filter(({ object }) => selection.all || selection.selects(object));
  return textResponse(200, rendering.list(chosen, { resourceVersion: "" }));
}

function nodeMetrics({ metadata }: KubeObject, usage: Usage): KubeObject {
  return { ...envelope("NodeMetrics", metadata, usage), usage: quantities(usage.node) };
}

/** Undefined for a pod of which no container runs. */
function podMetrics({ metadata }: KubeObject, usage: Usage): KubeObject | undefined {
  const containers = usage.pods.get(metadata.uid ?? "");
  if (containers === undefined) return undefined;
  return {
    ...envelope("PodMetrics", metadata, usage),
    containers: [...containers].map(([name, amount]) => ({ name, usage: quantities(amount) })),
  };
}

function envelope(kind: string, metadata: KubeObject["metadata"], usage: Usage): KubeObject {
  const { name, namespace, labels } = metadata;
  return {
    kind,
    apiVersion: "metrics.k8s.io/v1beta1",
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      creationTimestamp: timestamp(usage.time),
      ...(labels === undefined ? {} : { labels }),
    },
    timestamp: timestamp(usage.time),
    window: `${usage.windowSeconds.toFixed(3)}s`,
  };
}

/** In the units of metrics-server. */
function quantities({ cpu, memory }: Amount): { cpu: string; memory: string } {
  return { cpu: `${Math.round(cpu * 1e9)}n`, memory: `${Math.ceil(memory / 1024)}Ki` };
}
