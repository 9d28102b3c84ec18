/** HorizontalPodAutoscalers: stored as autoscaling/v2; v1 is the same object with only a CPU target. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { invalid, oneOf, required } from "./cause.ts";
import { list } from "./loose.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn } from "./table.ts";

const metricsAnnotation = "autoscaling.alpha.kubernetes.io/metrics";

export const horizontalPodAutoscaler: ResourceDefinition = define(
  {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    resource: "horizontalpodautoscalers",
  },
  {
    shortNames: ["hpa"],
    categories: ["all"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.minReplicas ??= 1;
      if (list(spec.metrics).length === 0) {
        spec.metrics = [
          {
            type: "Resource",
            resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } },
          },
        ];
      }
      setBehaviorDefaults(spec.behavior);
    },
    validate: validateAutoscaler,
    columns: [
      nameColumn,
      column("Reference", "What it scales."),
      column("Targets", "Measured values and wanted ones."),
      column("MinPods", "The fewest pods."),
      column("MaxPods", "The most pods."),
      column("Replicas", "The pods there are."),
      ageColumn,
    ],
    row: autoscalerRow,
  },
);

/** Applies only where `behavior` is given, as upstream's GenerateHPAScaleUpRules and GenerateHPAScaleDownRules. */
function setBehaviorDefaults(behavior: Fields | undefined | null): void {
  if (!behavior) return;
  behavior["scaleUp"] = {
    stabilizationWindowSeconds: 0,
    selectPolicy: "Max",
    policies: [
      { type: "Pods", value: 4, periodSeconds: 15 },
      { type: "Percent", value: 100, periodSeconds: 15 },
    ],
    ...behavior["scaleUp"],
  };
  behavior["scaleDown"] = {
    selectPolicy: "Max",
    policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
    ...behavior["scaleDown"],
  };
}

function validateAutoscaler(object: KubeObject): StatusCause[] {
  const spec: Fields = object["spec"] ?? {};
  const causes: StatusCause[] = [];
  const { minReplicas, maxReplicas } = spec;
  if (Number(minReplicas) < 1) {
    causes.push(invalid("spec.minReplicas", minReplicas, "must be greater than or equal to 1"));
  }
  if (!(Number(maxReplicas) >= 1)) {
    causes.push(invalid("spec.maxReplicas", maxReplicas ?? 0, "must be greater than 0"));
  }
  if (Number(maxReplicas) < Number(minReplicas)) {
    causes.push(invalid("spec.maxReplicas", maxReplicas, "must be greater than or equal to `minReplicas`"));
  }
  if (!spec["scaleTargetRef"]?.kind) causes.push(required("spec.scaleTargetRef.kind"));
  if (!spec["scaleTargetRef"]?.name) causes.push(required("spec.scaleTargetRef.name"));
  for (const [index, metric] of list(spec["metrics"]).entries()) {
    causes.push(
      ...oneOf(`spec.metrics[${index}].type`, metric["type"], [
        "ContainerResource",
        "External",
        "Object",
        "Pods",
        "Resource",
      ]),
    );
  }
  return causes;
}

function autoscalerRow(object: KubeObject, now: number): string[] {
  const spec: Fields = object["spec"] ?? {};
  const target: Fields = spec["scaleTargetRef"] ?? {};
  return [
    object.metadata.name,
    `${target["kind"]}/${target["name"]}`,
    targetsOf(list(spec["metrics"]), list(object["status"]?.currentMetrics)),
    String(spec["minReplicas"] ?? "<unset>"),
    String(spec["maxReplicas"] ?? 0),
    String(object["status"]?.currentReplicas ?? 0),
    age(object, now),
  ];
}

const sources: Record<string, string> = {
  Resource: "resource",
  ContainerResource: "containerResource",
  Pods: "pods",
  Object: "object",
  External: "external",
};

function targetsOf(specs: Fields[], statuses: Fields[]): string {
  const texts = specs.slice(0, 2).map((metric, index) => targetOf(metric, statuses[index]));
  if (texts.length === 0) return "<none>";
  const more = specs.length > 2 ? ` + ${specs.length - 2} more...` : "";
  return texts.join(", ") + more;
}

function targetOf(metric: Fields, status: Fields | undefined): string {
  const source = sources[String(metric["type"])];
  if (source === undefined) return "<unknown type>";
  const target: Fields = metric[source]?.target ?? {};
  const current: Fields = status?.[source]?.current ?? {};
  const name =
    metric["type"] === "Resource" || metric["type"] === "ContainerResource" ? `${metric[source].name}: ` : "";
  if (target["averageUtilization"] !== undefined) {
    const value =
      current["averageUtilization"] === undefined ? "<unknown>" : `${current["averageUtilization"]}%`;
    return `${name}${value}/${target["averageUtilization"]}%`;
  }
  if (target["averageValue"] !== undefined) {
    const average = name === "" && metric["type"] !== "Pods" ? " (avg)" : "";
    return `${name}${current["averageValue"] ?? "<unknown>"}/${target["averageValue"]}${average}`;
  }
  return `${name}${current["value"] ?? "<unknown>"}/${target["value"] ?? "<auto>"}`;
}

export const horizontalPodAutoscalerV1: ResourceDefinition = {
  ...horizontalPodAutoscaler,
  version: "v1",
  storedAs: {
    group: "autoscaling",
    version: "v2",
    resource: "horizontalpodautoscalers",
    toStored: toV2,
    fromStored: toV1,
  },
  setDefaults(object) {
    object["spec"] ??= {};
    object["spec"].minReplicas ??= 1;
  },
  validate: (object) => validateAutoscaler(toV2(object)),
  row: (object, now) => autoscalerRow(toV2(object), now),
};

/** Metrics that v1 cannot say travel in an annotation, so that a write through v1 keeps them. */
function toV2(object: KubeObject): KubeObject {
  const { targetCPUUtilizationPercentage: cpu, ...spec } = object["spec"] ?? {};
  const { [metricsAnnotation]: kept, ...annotations } = object.metadata.annotations ?? {};
  const others = kept === undefined ? [] : list(JSON.parse(kept));
  const target = cpu ?? (others.length === 0 ? 80 : undefined);
  const metrics =
    target === undefined
      ? others
      : [
          ...others,
          {
            type: "Resource",
            resource: { name: "cpu", target: { type: "Utilization", averageUtilization: target } },
          },
        ];
  const { currentCPUUtilizationPercentage: current, ...status } = object["status"] ?? {};
  return {
    ...object,
    apiVersion: "autoscaling/v2",
    metadata: { ...object.metadata, annotations },
    spec: { ...spec, metrics },
    ...(object["status"] === undefined
      ? {}
      : {
          status:
            current === undefined
              ? status
              : {
                  ...status,
                  currentMetrics: [
                    { type: "Resource", resource: { name: "cpu", current: { averageUtilization: current } } },
                  ],
                },
        }),
  };
}

function isCpu(metric: Fields): boolean {
  return metric["type"] === "Resource" && metric["resource"]?.name === "cpu";
}

function toV1(object: KubeObject): KubeObject {
  const { metrics, behavior: _behavior, ...spec } = object["spec"] ?? {};
  const { currentMetrics, conditions: _conditions, ...status } = object["status"] ?? {};
  const cpu = list(metrics).find((metric) => isCpu(metric) && metric["resource"].target?.averageUtilization);
  const others = list(metrics).filter((metric) => metric !== cpu);
  const current = list(currentMetrics).find(isCpu)?.["resource"].current?.averageUtilization;
  return {
    ...object,
    apiVersion: "autoscaling/v1",
    metadata: {
      ...object.metadata,
      ...(others.length === 0
        ? {}
        : { annotations: { ...object.metadata.annotations, [metricsAnnotation]: JSON.stringify(others) } }),
    },
    spec: {
      ...spec,
      ...(cpu === undefined
        ? {}
        : { targetCPUUtilizationPercentage: cpu["resource"].target.averageUtilization as number }),
    },
    ...(object["status"] === undefined
      ? {}
      : {
          status: {
            ...status,
            ...(current === undefined ? {} : { currentCPUUtilizationPercentage: current as number }),
          },
        }),
  };
}
