/**
 * Scales workloads by what their pods use (https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/). Metrics of
 * processor time and memory are there; those of other APIs are refused as by a cluster that has no adapter for them.
 */
import { messageOf } from "@kws/base/errors";
import { isSame } from "@kws/kube/cached";
import type { Resource } from "@kws/kube/client";
import { keyOf, parseApiVersion, type KubeObject } from "@kws/kube/object";
import { formatQuantity, parseQuantity } from "@kws/kube/quantity";
import { horizontalPodAutoscalers, pods as podResource } from "@kws/kube/resources";
import { matches, parseSelector } from "@kws/kube/selector";
import { withCondition, type Condition } from "./conditions.ts";
import { timestamp, watch, type Controller, type ControllerContext } from "./context.ts";
import { decide, remember, type Behavior, type History } from "./hpa-behavior.ts";
import { replicasFor, type PodMetric, type ReplicaAnswer } from "./hpa-replicas.ts";
import type { Pod } from "./pods.ts";

interface MetricTarget {
  type: string;
  averageUtilization?: number;
  averageValue?: string;
}

interface MetricSpec {
  type: string;
  resource?: { name: string; target: MetricTarget };
  containerResource?: { name: string; container: string; target: MetricTarget };
  pods?: { metric: { name: string } };
  object?: { metric: { name: string } };
  external?: { metric: { name: string } };
}

export interface Autoscaler extends KubeObject {
  spec: {
    scaleTargetRef: { apiVersion?: string; kind: string; name: string };
    minReplicas?: number;
    maxReplicas: number;
    metrics?: MetricSpec[];
    behavior?: Behavior;
  };
  status?: {
    currentReplicas?: number;
    desiredReplicas?: number;
    lastScaleTime?: string;
    currentMetrics?: object[] | null;
    conditions?: Condition[];
  };
}

interface Scale extends KubeObject {
  spec?: { replicas?: number };
  status?: { replicas: number; selector?: string };
}

/** What one metric asks for, or why nothing can be said of it. */
interface Proposal {
  replicas: number;
  /** As events name it. */
  name: string;
  status: object;
}

const periodMs = 15_000;
const defaultTolerance = 0.1;

class MetricError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

export function horizontalPodAutoscalerController(ctx: ControllerContext): Controller {
  const autoscalers = ctx.resource<Autoscaler>(horizontalPodAutoscalers);
  const pods = ctx.resource<Pod>(podResource);
  const recorder = ctx.recorder("horizontal-pod-autoscaler");
  const histories = new Map<string, History>();

  return {
    name: "horizontal-pod-autoscaler",
    // Its own writes are of the status.
    watches: [watch(autoscalers, undefined, ({ spec }, old) => !isSame(spec, old.spec))],
    async reconcile({ namespace, name }) {
      const autoscaler = autoscalers.get(name, namespace);
      if (autoscaler === undefined) {
        histories.delete(`${namespace ?? ""}/${name}`);
        return;
      }
      await autoscalers.updateStatus(autoscaler, await statusOf(autoscaler));
      return { requeueAfter: periodMs };
    },
  };

  /** Scales where that is called for, and answers the status. */
  async function statusOf(autoscaler: Autoscaler): Promise<NonNullable<Autoscaler["status"]>> {
    const { spec, metadata } = autoscaler;
    const { minReplicas: min = 1, maxReplicas: max, behavior } = spec;
    const { namespace = "" } = metadata;
    let conditions = autoscaler.status?.conditions;
    const set = (type: string, status: boolean, reason: string, message: string) => {
      const condition: Condition = { type, status: status ? "True" : "False", reason, message };
      conditions = withCondition(conditions, condition, ctx.now());
    };
    const old = { currentReplicas: 0, desiredReplicas: 0, ...autoscaler.status };

    let resource: Resource;
    let scale: Scale;
    try {
      resource = await scaledResource(spec.scaleTargetRef);
      scale = await ctx.client.get<Scale>(resource, spec.scaleTargetRef.name, namespace, {
        subresource: "scale",
      });
    } catch (error) {
      recorder.event(autoscaler, "Warning", "FailedGetScale", messageOf(error));
      const message = `the HPA controller was unable to get the target's current scale: ${messageOf(error)}`;
      set("AbleToScale", false, "FailedGetScale", message);
      return { ...old, conditions };
    }
    const succeeded = "the HPA controller was able to get the target's current scale";
    set("AbleToScale", true, "SucceededGetScale", succeeded);
    const current = scale.spec?.replicas ?? 0;
    const key = keyOf(autoscaler);
    const known = histories.get(key);
    const begun = { recommendations: [{ replicas: current, time: ctx.now() }], changes: [] };
    const history: History = known ?? begun;
    histories.set(key, history);

    let desired = current;
    let why = "";
    let currentMetrics: object[] | null | undefined = old.currentMetrics;
    if (current === 0 && min !== 0) {
      const message = "scaling is disabled since the replica count of the target is zero";
      set("ScalingActive", false, "ScalingDisabled", message);
    } else if (current > max) {
      [desired, why] = [max, "Current number of replicas above Spec.MaxReplicas"];
    } else if (current < min) {
      [desired, why] = [min, "Current number of replicas below Spec.MinReplicas"];
    } else {
      const measured = await measure(autoscaler, scale, current);
      if ("failure" in measured) {
        const { failure, message } = measured;
        set("ScalingActive", false, failure.reason, unable(failure));
        recorder.event(autoscaler, "Warning", failure.reason, failure.message);
        recorder.event(autoscaler, "Warning", "FailedComputeMetricsReplicas", message);
        return { ...old, currentReplicas: current, conditions };
      }
      const { highest, statuses } = measured;
      const from = `the HPA was able to successfully calculate a replica count from ${highest.name}`;
      set("ScalingActive", true, "ValidMetricFound", from);
      currentMetrics = statuses;
      const decision = decide(history, current, highest.replicas, { min, max, behavior }, ctx.now());
      const { able, limited } = decision;
      set("AbleToScale", true, able.reason, able.message);
      set("ScalingLimited", limited.limited, limited.reason, limited.message);
      desired = decision.replicas;
      why = desired > current ? `${highest.name} above target` : "All metrics below target";
    }
    if (desired === current) {
      return { ...old, currentReplicas: current, desiredReplicas: current, currentMetrics, conditions };
    }
    try {
      const patch = { spec: { replicas: desired } };
      const { name } = spec.scaleTargetRef;
      await ctx.client.patch(resource, name, namespace, "merge", patch, { subresource: "scale" });
    } catch (error) {
      const message = `New size: ${desired}; reason: ${why}; error: ${messageOf(error)}`;
      recorder.event(autoscaler, "Warning", "FailedRescale", message);
      const sentence = `the HPA controller was unable to update the target scale: ${messageOf(error)}`;
      set("AbleToScale", false, "FailedUpdateScale", sentence);
      return { ...old, currentReplicas: current, currentMetrics, conditions };
    }
    remember(history, desired - current, behavior, ctx.now());
    const done = `the HPA controller was able to update the target scale to ${desired}`;
    set("AbleToScale", true, "SucceededRescale", done);
    recorder.event(autoscaler, "Normal", "SuccessfulRescale", `New size: ${desired}; reason: ${why}`);
    const lastScaleTime = timestamp(ctx.now());
    return {
      ...old,
      currentReplicas: current,
      desiredReplicas: desired,
      lastScaleTime,
      currentMetrics,
      conditions,
    };
  }

  /** The highest of what the metrics ask for; nothing where none can be read, or where the others would mean fewer replicas. */
  async function measure(
    { spec, metadata }: Autoscaler,
    scale: Scale,
    current: number,
  ): Promise<{ highest: Proposal; statuses: object[] } | { failure: MetricError; message: string }> {
    const { namespace = "" } = metadata;
    const selector = scale.status?.selector ?? "";
    const requirements = parseSelector(selector);
    const selected = pods.list(namespace).filter((pod) => matches(requirements, pod.metadata.labels));
    const { scaleUp, scaleDown } = spec.behavior ?? {};
    const tolerance = {
      up: parseQuantity(scaleUp?.tolerance ?? defaultTolerance),
      down: parseQuantity(scaleDown?.tolerance ?? defaultTolerance),
    };
    const question = { pods: selected, current, tolerance, now: ctx.now() };
    const metrics = spec.metrics ?? [];
    const failures: MetricError[] = [];
    const proposals: Proposal[] = [];
    for (const metric of metrics) {
      try {
        proposals.push(await propose(metric, question, namespace, selector));
      } catch (error) {
        if (!(error instanceof MetricError)) throw error;
        failures.push(error);
      }
    }
    const [failure] = failures;
    const [highest] = proposals.toSorted((a, b) => b.replicas - a.replicas);
    if (highest !== undefined && (failure === undefined || highest.replicas >= current)) {
      return { highest, statuses: proposals.map(({ status }) => status) };
    }
    const first = failure ?? new MetricError("InvalidMetricSourceType", "no metrics are given");
    const message = `invalid metrics (${failures.length} invalid out of ${metrics.length}), first error is: ${first.message}`;
    return { failure: first, message };
  }

  async function propose(
    metric: MetricSpec,
    question: { pods: Pod[]; current: number; tolerance: { up: number; down: number }; now: number },
    namespace: string,
    selector: string,
  ): Promise<Proposal> {
    const source = metric.type === "ContainerResource" ? metric.containerResource : metric.resource;
    if (source === undefined) throw refusal(metric, namespace);
    const { name: resource, target } = source;
    const container = metric.containerResource?.container;
    const reason = container === undefined ? "FailedGetResourceMetric" : "FailedGetContainerResourceMetric";
    let answer: ReplicaAnswer;
    const { averageUtilization, averageValue } = target;
    try {
      const usage = await podMetrics(resource, namespace, selector);
      if (averageUtilization === undefined && averageValue === undefined)
        throw new Error("neither a utilization target nor a value target was set");
      answer = replicasFor({
        ...question,
        resource,
        ...(container === undefined ? {} : { container }),
        target:
          averageValue === undefined
            ? { utilization: averageUtilization ?? 0 }
            : { average: parseQuantity(averageValue) },
        metrics: usage,
      });
    } catch (error) {
      throw new MetricError(reason, `failed to get ${resource} utilization: ${messageOf(error)}`);
    }
    const { replicas, average, utilization } = answer;
    const current = {
      averageValue: quantityOf(resource, average),
      ...(utilization === undefined ? {} : { averageUtilization: utilization }),
    };
    const what = `${resource}${container === undefined ? "" : " container"} resource`;
    return {
      replicas,
      name: utilization === undefined ? what : `${what} utilization (percentage of request)`,
      status:
        container === undefined
          ? { type: "Resource", resource: { name: resource, current } }
          : { type: "ContainerResource", containerResource: { name: resource, container, current } },
    };
  }

  async function podMetrics(
    resource: string,
    namespace: string,
    selector: string,
  ): Promise<Map<string, PodMetric>> {
    type Item = {
      metadata: { name: string };
      timestamp: string;
      window: string;
      containers: { name: string; usage: Record<string, string> }[];
    };
    const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}`;
    const list = await ctx.client.request({ method: "GET", path, signal: ctx.signal });
    const metrics = new Map<string, PodMetric>();
    for (const { metadata, timestamp, window, containers } of (list["items"] ?? []) as Item[]) {
      const used = containers.flatMap(({ name, usage }): [string, number][] =>
        usage[resource] === undefined ? [] : [[name, parseQuantity(usage[resource])]],
      );
      if (used.length === 0) continue;
      metrics.set(metadata.name, {
        time: Date.parse(timestamp),
        windowMs: Number.parseFloat(window) * 1000,
        containers: new Map(used),
      });
    }
    if (metrics.size === 0)
      throw new Error(
        `unable to get metrics for resource ${resource}: no metrics returned from resource metrics API`,
      );
    return metrics;
  }

  /** Of the kind that the reference names; throws where it is not served. */
  async function scaledResource({
    apiVersion = "v1",
    kind,
  }: Autoscaler["spec"]["scaleTargetRef"]): Promise<Resource> {
    const { group, version } = parseApiVersion(apiVersion);
    const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
    const list = await ctx.client.request({ method: "GET", path, signal: ctx.signal });
    const found = ((list["resources"] ?? []) as { name: string; kind: string; namespaced: boolean }[]).find(
      (one) => one.kind === kind && !one.name.includes("/"),
    );
    if (found === undefined) throw new Error(`no matches for kind "${kind}" in group "${group}"`);
    return { group, version, resource: found.name, namespaced: found.namespaced };
  }
}

function unable(failure: MetricError): string {
  return `the HPA was unable to compute the replica count: ${failure.message}`;
}

/** What a cluster says that has no API for metrics of one's own. */
function refusal({ type, pods, object, external }: MetricSpec, namespace: string): MetricError {
  const custom =
    "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
  switch (type) {
    case "Pods":
      return new MetricError(
        "FailedGetPodsMetric",
        `failed to get pods metric value: unable to get metric ${pods?.metric.name}: ${custom}`,
      );
    case "Object":
      return new MetricError(
        "FailedGetObjectMetric",
        `failed to get object metric value: unable to get metric ${object?.metric.name}: ${custom}`,
      );
    case "External":
      return new MetricError(
        "FailedGetExternalMetric",
        `failed to get ${external?.metric.name} external metric value: unable to get external metric ${namespace}/${external?.metric.name}: unable to fetch metrics from external metrics API: no external metrics API (external.metrics.k8s.io) registered`,
      );
    default:
      return new MetricError("InvalidMetricSourceType", `unknown metric source type "${type}"`);
  }
}

/** Processor time in thousandths of a core, memory in whole bytes. */
function quantityOf(resource: string, amount: number): string {
  return formatQuantity(resource === "cpu" ? Math.ceil(amount * 1000) / 1000 : Math.ceil(amount));
}
