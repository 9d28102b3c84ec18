/** HorizontalPodAutoscalers: stored as autoscaling/v2; v1 is the same object with only a CPU target. */
import type { KubeObject } from "@kws/kube/object";
import type { StatusCause } from "@kws/kube/status";
import { isQuantity, parseQuantity } from "@kws/kube/quantity";
import { forbidden, invalid, oneOf, required } from "./cause.ts";
import { list } from "./loose.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import { age, ageColumn, column, nameColumn } from "./table.ts";

const metricsAnnotation = "autoscaling.alpha.kubernetes.io/metrics";
const behaviorAnnotation = "autoscaling.alpha.kubernetes.io/behavior";

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
      ...validateResourceTarget(`spec.metrics[${index}]`, metric),
    );
  }
  for (const direction of ["scaleUp", "scaleDown"]) {
    const rules: Fields | undefined = spec["behavior"]?.[direction];
    if (rules) causes.push(...validateRules(`spec.behavior.${direction}`, rules));
  }
  return causes;
}

/** Of metrics that are measured here; a target has one of two amounts. */
function validateResourceTarget(path: string, metric: Fields): StatusCause[] {
  const source = sources[String(metric["type"])];
  if (source !== "resource" && source !== "containerResource") return [];
  const at = `${path}.${source}`;
  if (!metric[source]) return [required(at, "must populate information for the given metric source")];
  const causes = metric[source].name ? [] : [required(`${at}.name`)];
  if (source === "containerResource" && !metric[source].container) causes.push(required(`${at}.container`));
  const { averageUtilization, averageValue }: Fields = metric[source].target ?? {};
  if (averageUtilization === undefined && averageValue === undefined) {
    causes.push(
      required(
        `${at}.target.averageUtilization`,
        "must set either a target raw value or a target utilization",
      ),
    );
  } else if (averageUtilization !== undefined && averageValue !== undefined) {
    causes.push(
      forbidden(`${at}.target.averageValue`, "may not set both a target raw value and a target utilization"),
    );
  } else if (averageUtilization !== undefined && !(Number(averageUtilization) >= 1)) {
    causes.push(invalid(`${at}.target.averageUtilization`, averageUtilization, "must be greater than 0"));
  } else if (averageValue !== undefined && !isPositive(averageValue)) {
    causes.push(invalid(`${at}.target.averageValue`, averageValue, "must be positive"));
  }
  return causes;
}

function isPositive(quantity: unknown): boolean {
  return isQuantity(quantity) && parseQuantity(quantity) > 0;
}

function validateRules(path: string, rules: Fields): StatusCause[] {
  const { stabilizationWindowSeconds: window, selectPolicy, tolerance } = rules;
  const causes: StatusCause[] = [];
  if (window !== undefined && !(Number(window) >= 0 && Number(window) <= 3600)) {
    causes.push(invalid(`${path}.stabilizationWindowSeconds`, window, "must be between 0 and 3600"));
  }
  if (selectPolicy) causes.push(...oneOf(`${path}.selectPolicy`, selectPolicy, ["Disabled", "Max", "Min"]));
  if (tolerance !== undefined && !(isQuantity(tolerance) && parseQuantity(tolerance) >= 0)) {
    causes.push(invalid(`${path}.tolerance`, tolerance, "must be greater than or equal to 0"));
  }
  const policies = list(rules["policies"]);
  if (policies.length === 0) causes.push(required(`${path}.policies`, "must specify at least one Policy"));
  for (const [index, { type, value, periodSeconds }] of policies.entries()) {
    const at = `${path}.policies[${index}]`;
    causes.push(...oneOf(`${at}.type`, type, ["Percent", "Pods"]));
    if (!(Number(value) > 0)) causes.push(invalid(`${at}.value`, value ?? 0, "must be greater than zero"));
    if (!(Number(periodSeconds) > 0 && Number(periodSeconds) <= 1800)) {
      causes.push(invalid(`${at}.periodSeconds`, periodSeconds ?? 0, "must be between 1 and 1800"));
    }
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

/** Metrics and a behavior, which v1 cannot say, travel in annotations, so that a write through v1 keeps them. */
function toV2(object: KubeObject): KubeObject {
  const { targetCPUUtilizationPercentage: cpu, ...spec } = object["spec"] ?? {};
  const {
    [metricsAnnotation]: kept,
    [behaviorAnnotation]: behavior,
    ...annotations
  } = object.metadata.annotations ?? {};
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
    spec: {
      ...spec,
      metrics,
      ...(behavior === undefined ? {} : { behavior: JSON.parse(behavior) as Fields }),
    },
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
  const { metrics, behavior, ...spec } = object["spec"] ?? {};
  const { currentMetrics, conditions: _conditions, ...status } = object["status"] ?? {};
  const cpu = list(metrics).find((metric) => isCpu(metric) && metric["resource"].target?.averageUtilization);
  const others = list(metrics).filter((metric) => metric !== cpu);
  const kept = {
    ...(others.length === 0 ? {} : { [metricsAnnotation]: JSON.stringify(others) }),
    ...(behavior ? { [behaviorAnnotation]: JSON.stringify(behavior) } : {}),
  };
  const current = list(currentMetrics).find(isCpu)?.["resource"].current?.averageUtilization;
  return {
    ...object,
    apiVersion: "autoscaling/v1",
    metadata: {
      ...object.metadata,
      ...(Object.keys(kept).length === 0 ? {} : { annotations: { ...object.metadata.annotations, ...kept } }),
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
