/**
 * Runs pods until enough have succeeded (https://kubernetes.io/docs/concepts/workloads/controllers/job/). A finished pod is
 * counted into the status and only then loses its tracking finalizer, so that none is counted twice or missed.
 */
import { messageOf } from "@kws/base/errors";
import { controllerOf } from "@kws/kube/object";
import { jobs as jobResource, pods as podResource } from "@kws/kube/resources";
import { selects } from "@kws/kube/selector";
import { conditionOf, type Condition } from "./conditions.ts";
import { byController, timestamp, watch, type Controller, type ControllerContext } from "./context.ts";
import {
  backoffLeft,
  failureAction,
  formatIndexes,
  indexAnnotation,
  indexOf,
  meetsSuccessPolicy,
  parseIndexes,
  type Job,
  type JobStatus,
} from "./job-policy.ts";
import { isActive, isReady, podFromTemplate, sortForDeletion, type Pod } from "./pods.ts";
import { positive } from "./replicaset.ts";

const finalizer = "batch.kubernetes.io/job-tracking";

/** What is to become of a Job: how it ends, and why. */
interface Ending {
  type: "Complete" | "Failed";
  reason: string;
  message: string;
}

interface Tally {
  active: Pod[];
  /** Finished pods that the status does not count yet. */
  newSucceeded: Pod[];
  newFailed: Pod[];
  succeeded: number;
  failed: number;
  doneIndexes: Set<number>;
  failedIndexes: Set<number>;
  failJob: string | undefined;
}

export function jobController(ctx: ControllerContext): Controller {
  const jobs = ctx.resource<Job>(jobResource);
  const pods = ctx.resource<Pod>(podResource);
  const recorder = ctx.recorder("job-controller");

  return {
    name: "job-controller",
    watches: [watch(jobs), watch(pods, byController("Job"))],
    concurrency: 5,
    async reconcile({ namespace, name }) {
      const job = jobs.get(name, namespace);
      if (job === undefined) {
        await releaseOrphans(namespace, name);
        return;
      }
      if (job.spec.managedBy !== undefined && job.spec.managedBy !== "kubernetes.io/job-controller") return;
      const owned = pods
        .ownedBy(job.metadata.uid)
        .filter((pod) => controllerOf(pod)?.uid === job.metadata.uid)
        .filter((pod) => job.spec.selector === undefined || selects(job.spec.selector, pod.metadata.labels));
      if (isOver(job)) {
        await releaseAll(owned);
        return;
      }
      return run(job, owned);
    },
  };

  async function run(job: Job, owned: Pod[]): Promise<{ requeueAfter?: number }> {
    const now = ctx.now();
    const suspended = job.spec.suspend === true;
    const tally = tallyOf(job, owned);
    let conditions = job.status?.conditions ?? [];
    let startTime = job.status?.startTime;
    if (startTime === undefined && !suspended) startTime = timestamp(now);
    const decided = endingSoFar(conditions) ?? endingOf(job, tally, startTime, now);

    let active = tally.active;
    let failure: unknown;
    let requeueAfter: number | undefined;
    if (decided !== undefined || suspended) {
      await Promise.all(active.map((pod) => remove(job, pod)));
      active = [];
    } else if (job.metadata.deletionTimestamp === undefined) {
      const result = await manage(job, tally, owned, now);
      ({ failure, requeueAfter } = result);
      active = result.active;
    }
    if (suspended && decided === undefined) {
      if (conditionOf(conditions, "Suspended")?.status !== "True") {
        conditions = set(
          conditions,
          { type: "Suspended", status: "True", reason: "JobSuspended", message: "Job suspended" },
          now,
        );
        recorder.event(job, "Normal", "Suspended", "Job suspended");
      }
      startTime = undefined;
    } else if (conditionOf(conditions, "Suspended")?.status === "True") {
      conditions = set(
        conditions,
        { type: "Suspended", status: "False", reason: "JobResumed", message: "Job resumed" },
        now,
      );
      recorder.event(job, "Normal", "Resumed", "Job resumed");
      startTime = timestamp(now);
    }
    const terminating = pods
      .ownedBy(job.metadata.uid)
      .filter((pod) => pod.metadata.deletionTimestamp !== undefined && !isDone(pod));
    let completionTime: string | undefined;
    if (decided !== undefined) {
      const early = decided.type === "Complete" ? "SuccessCriteriaMet" : "FailureTarget";
      const { reason, message } = decided;
      conditions = set(conditions, { type: early, status: "True", reason, message }, now);
      // The terminal condition waits for the last pod to have ended.
      if (active.length + terminating.length === 0) {
        conditions = set(conditions, { type: decided.type, status: "True", reason, message }, now);
        if (decided.type === "Complete") completionTime = timestamp(now);
        const completed = decided.type === "Complete";
        recorder.event(
          job,
          completed ? "Normal" : "Warning",
          completed ? "Completed" : reason,
          completed ? "Job completed" : message,
        );
      }
    }
    const indexed = job.spec.completionMode === "Indexed";
    const status: JobStatus = {
      ...positive("active", active.length),
      ...positive("succeeded", tally.succeeded),
      ...positive("failed", tally.failed),
      ready: active.filter(isReady).length,
      terminating: terminating.length,
      ...(startTime === undefined ? {} : { startTime }),
      ...(completionTime === undefined ? {} : { completionTime }),
      ...(indexed && tally.doneIndexes.size > 0
        ? { completedIndexes: formatIndexes(tally.doneIndexes) }
        : {}),
      ...(job.spec.backoffLimitPerIndex === undefined
        ? {}
        : { failedIndexes: formatIndexes(tally.failedIndexes) }),
      uncountedTerminatedPods: {},
      ...(conditions.length === 0 ? {} : { conditions }),
    };
    await jobs.updateStatus(job, status);
    await releaseAll([...tally.newSucceeded, ...tally.newFailed]);
    if (failure !== undefined) throw failure;
    const deadline = deadlineIn(job, startTime, now);
    const waits = [requeueAfter, decided === undefined && !suspended ? deadline : undefined].filter(
      (wait) => wait !== undefined,
    );
    return waits.length === 0 ? {} : { requeueAfter: Math.max(0, Math.min(...waits)) };
  }

  /** Brings the number of running pods to what parallelism and the remaining completions allow. */
  async function manage(
    job: Job,
    tally: Tally,
    owned: Pod[],
    now: number,
  ): Promise<{ active: Pod[]; failure?: unknown; requeueAfter?: number }> {
    const { active } = tally;
    const wanted = wantedActive(job, tally);
    if (active.length > wanted) {
      const excess = sortForDeletion(active).slice(0, active.length - wanted);
      await Promise.all(excess.map((pod) => remove(job, pod)));
      return { active: active.filter((pod) => !excess.includes(pod)) };
    }
    // A terminating pod still holds its place where replacements wait for the old one to have failed.
    const leaving = owned.filter((pod) => pod.metadata.deletionTimestamp !== undefined && !isDone(pod));
    const held =
      job.spec.podReplacementPolicy === "Failed" || job.spec.podFailurePolicy !== undefined
        ? leaving.length
        : 0;
    const missing = wanted - active.length - held;
    if (missing <= 0) return { active };
    const failures = owned.filter((pod) => pod.status?.phase === "Failed");
    const wait = tally.newSucceeded.length > 0 ? 0 : backoffLeft(failures, now);
    if (wait > 0) return { active, requeueAfter: wait };
    const indexes =
      job.spec.completionMode === "Indexed" ? freeIndexes(job, tally, leaving, missing) : undefined;
    const wantedPods =
      indexes?.map((index) => desiredPod(job, index)) ??
      Array.from({ length: missing }, () => desiredPod(job));
    const created: Pod[] = [];
    try {
      for (const pod of wantedPods) {
        const answer = await pods.create(pod);
        created.push(answer);
        recorder.event(job, "Normal", "SuccessfulCreate", `Created pod: ${answer.metadata.name}`);
      }
      return { active: [...active, ...created] };
    } catch (error) {
      recorder.event(job, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
      return { active: [...active, ...created], failure: error };
    }
  }

  async function remove(job: Job, pod: Pod): Promise<void> {
    await release(pod);
    await pods.delete(pod);
    recorder.event(job, "Normal", "SuccessfulDelete", `Deleted pod: ${pod.metadata.name}`);
  }

  async function releaseAll(list: Pod[]): Promise<void> {
    await Promise.all(list.filter(isDone).map(release));
  }

  async function release(pod: Pod): Promise<void> {
    const { finalizers = [] } = pods.get(pod.metadata.name, pod.metadata.namespace)?.metadata ?? {};
    if (!finalizers.includes(finalizer)) return;
    const left = finalizers.filter((name) => name !== finalizer);
    await pods.patch(pod, "merge", { metadata: { uid: pod.metadata.uid, finalizers: left } });
  }

  /** Pods of a Job that is gone must not be kept by its finalizer. */
  async function releaseOrphans(namespace: string | undefined, name: string): Promise<void> {
    const orphans = pods
      .list(namespace)
      .filter((pod) => byController("Job")(pod).includes(`${namespace}/${name}`));
    await Promise.all(orphans.map(release));
  }
}

function isDone(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function isOver(job: Job): boolean {
  const { conditions } = job.status ?? {};
  return ["Complete", "Failed"].some((type) => conditionOf(conditions, type)?.status === "True");
}

function set(list: Condition[], next: Condition, now: number): Condition[] {
  const old = conditionOf(list, next.type);
  if (old !== undefined && old.status === next.status) return list;
  const condition = { ...next, lastProbeTime: timestamp(now), lastTransitionTime: timestamp(now) };
  return old === undefined ? [...list, condition] : list.map((item) => (item === old ? condition : item));
}

/** A decision that an earlier round wrote down stands. */
function endingSoFar(conditions: Condition[]): Ending | undefined {
  for (const [early, type] of [
    ["SuccessCriteriaMet", "Complete"],
    ["FailureTarget", "Failed"],
  ] as const) {
    const condition = conditionOf(conditions, early);
    if (condition?.status === "True")
      return { type, reason: condition.reason ?? "", message: condition.message ?? "" };
  }
  return undefined;
}

/** Pods that still carry the finalizer are the ones not counted yet. */
export function tallyOf(job: Job, owned: Pod[]): Tally {
  const uncounted = owned.filter((pod) => pod.metadata.finalizers?.includes(finalizer));
  const newSucceeded = uncounted.filter((pod) => pod.status?.phase === "Succeeded");
  const newFailed = uncounted.filter((pod) => pod.status?.phase === "Failed");
  const doneIndexes = parseIndexes(job.status?.completedIndexes);
  for (const pod of newSucceeded) doneIndexes.add(indexOf(pod));
  const failedIndexes = parseIndexes(job.status?.failedIndexes);
  let counted = 0;
  let failJob: string | undefined;
  for (const pod of newFailed) {
    const { action, message } = failureAction(job, pod);
    if (action === "Ignore") continue;
    counted += 1;
    if (action === "FailJob") failJob ??= message;
    if (action === "FailIndex") failedIndexes.add(indexOf(pod));
  }
  const perIndex = job.spec.backoffLimitPerIndex;
  if (perIndex !== undefined) {
    const failures = owned.filter(
      (pod) => pod.status?.phase === "Failed" && failureAction(job, pod).action !== "Ignore",
    );
    for (const [index, list] of Map.groupBy(failures, indexOf))
      if (list.length > perIndex) failedIndexes.add(index);
  }
  const indexed = job.spec.completionMode === "Indexed";
  return {
    active: owned.filter(isActive),
    newSucceeded,
    newFailed,
    succeeded: indexed ? doneIndexes.size : (job.status?.succeeded ?? 0) + newSucceeded.length,
    failed: (job.status?.failed ?? 0) + counted,
    doneIndexes,
    failedIndexes,
    failJob,
  };
}

function endingOf(job: Job, tally: Tally, startTime: string | undefined, now: number): Ending | undefined {
  const { backoffLimit = 6, backoffLimitPerIndex, completions, maxFailedIndexes } = job.spec;
  if (tally.failJob !== undefined)
    return { type: "Failed", reason: "PodFailurePolicy", message: tally.failJob };
  if (backoffLimitPerIndex === undefined && failuresWithRestarts(job, tally) > backoffLimit) {
    return {
      type: "Failed",
      reason: "BackoffLimitExceeded",
      message: "Job has reached the specified backoff limit",
    };
  }
  const deadline = deadlineIn(job, startTime, now);
  if (deadline !== undefined && deadline <= 0 && job.spec.suspend !== true) {
    return {
      type: "Failed",
      reason: "DeadlineExceeded",
      message: "Job was active longer than specified deadline",
    };
  }
  if (maxFailedIndexes !== undefined && tally.failedIndexes.size > maxFailedIndexes) {
    return {
      type: "Failed",
      reason: "MaxFailedIndexesExceeded",
      message: "Job has exceeded the specified maximal number of failed indexes",
    };
  }
  const met = meetsSuccessPolicy(job, tally.doneIndexes);
  if (met !== undefined) return { type: "Complete", reason: "SuccessPolicy", message: met };
  if (completions !== undefined && completions !== null) {
    if (tally.succeeded >= completions) return reached;
    if (tally.failedIndexes.size > 0 && tally.succeeded + tally.failedIndexes.size >= completions) {
      return { type: "Failed", reason: "FailedIndexes", message: "Job has failed indexes" };
    }
    return undefined;
  }
  // A work queue: done when one has succeeded and none runs any more.
  return tally.succeeded > 0 && tally.active.length === 0 ? reached : undefined;
}

const reached: Ending = {
  type: "Complete",
  reason: "CompletionsReached",
  message: "Reached expected number of succeeded pods",
};

/** With restartPolicy OnFailure a container fails without its pod failing: restarts count as failures. */
function failuresWithRestarts(job: Job, tally: Tally): number {
  if (job.spec.template.spec["restartPolicy"] !== "OnFailure") return tally.failed;
  const restarts = tally.active
    .flatMap((pod) => [
      ...(pod.status?.initContainerStatuses ?? []),
      ...(pod.status?.containerStatuses ?? []),
    ])
    .reduce((sum, status) => sum + (status.restartCount ?? 0), 0);
  const { backoffLimit = 6 } = job.spec;
  // Upstream: reaching the limit by restarts is enough.
  return restarts > 0 && restarts >= backoffLimit ? Math.max(tally.failed, backoffLimit + 1) : tally.failed;
}

function deadlineIn(job: Job, startTime: string | undefined, now: number): number | undefined {
  const seconds = job.spec.activeDeadlineSeconds;
  if (seconds === undefined || startTime === undefined) return undefined;
  return Date.parse(startTime) + seconds * 1_000 - now;
}

function wantedActive(job: Job, tally: Tally): number {
  const { parallelism = 1, completions } = job.spec;
  if (completions === undefined || completions === null) {
    return tally.succeeded > 0 ? tally.active.length : parallelism;
  }
  return Math.max(0, Math.min(parallelism, completions - tally.succeeded - tally.failedIndexes.size));
}

function freeIndexes(job: Job, tally: Tally, leaving: Pod[], count: number): number[] {
  const taken = new Set([...tally.active, ...leaving].map(indexOf));
  const free: number[] = [];
  for (let index = 0; index < (job.spec.completions ?? 0) && free.length < count; index += 1) {
    if (!taken.has(index) && !tally.doneIndexes.has(index) && !tally.failedIndexes.has(index))
      free.push(index);
  }
  return free;
}

/** The Job's next pod, or the pod of one of its indexes. */
export function desiredPod(job: Job, index?: number): Pod {
  const pod = podFromTemplate(job, job.spec.template);
  pod.metadata.finalizers = [...(pod.metadata.finalizers ?? []), finalizer];
  if (index === undefined) return pod;
  pod.metadata.annotations = { ...pod.metadata.annotations, [indexAnnotation]: String(index) };
  pod.metadata.labels = { ...pod.metadata.labels, [indexAnnotation]: String(index) };
  pod.metadata.generateName = `${job.metadata.name}-${index}-`;
  pod.spec.hostname ??= `${job.metadata.name}-${index}`;
  const env = {
    name: "JOB_COMPLETION_INDEX",
    valueFrom: { fieldRef: { fieldPath: `metadata.labels['${indexAnnotation}']` } },
  };
  for (const list of ["initContainers", "containers"]) {
    for (const container of (pod.spec[list] ?? []) as { env?: { name: string }[] }[]) {
      if (container.env?.some(({ name }) => name === env.name)) continue;
      container.env = [...(container.env ?? []), env];
    }
  }
  return pod;
}
