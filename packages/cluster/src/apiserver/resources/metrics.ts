/** What pods and nodes use (https://github.com/kubernetes/metrics): measured when it is asked for, and never stored. */
import type { KubeObject } from "@kws/kube/object";
import type { ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { column, nameColumn } from "./table.ts";

export const metricsGroup = "metrics.k8s.io";

const own: Partial<ResourceDefinition> = {
  verbs: ["get", "list"],
  columns: [
    nameColumn,
    column("Cpu", "Processor time in cores."),
    column("Memory", "Bytes."),
    column("Window", "The time over which it was measured."),
  ],
  row(object) {
    const containers = (object["containers"] ?? [object]) as { usage?: { cpu?: string; memory?: string } }[];
    const of = (key: "cpu" | "memory") => containers.map(({ usage }) => usage?.[key] ?? "0").join("+");
    return [object.metadata.name, of("cpu"), of("memory"), windowOf(object)];
  },
};

function windowOf(object: KubeObject): string {
  return typeof object["window"] === "string" ? object["window"] : "";
}

export const nodeMetrics: ResourceDefinition = define(
  {
    group: metricsGroup,
    version: "v1beta1",
    kind: "NodeMetrics",
    resource: "nodes",
    singular: "",
    namespaced: false,
  },
  own,
);

export const podMetrics: ResourceDefinition = define(
  { group: metricsGroup, version: "v1beta1", kind: "PodMetrics", resource: "pods", singular: "" },
  own,
);
