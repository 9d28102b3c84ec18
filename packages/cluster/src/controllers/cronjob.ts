/** Makes Jobs on a schedule (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/). */
import { messageOf } from "@kws/base/errors";
import { controllerOf, type KubeObject } from "@kws/kube/object";
import { cronJobs, jobs as jobResource } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import { conditionOf } from "./conditions.ts";
import { byController, timestamp, watch, type Controller, type ControllerContext } from "./context.ts";
import { nextTime, parseSchedule, type Schedule } from "./cron.ts";
import { isOver } from "./job.ts";
import type { Job } from "./job-policy.ts";
import { controllerReference } from "./pods.ts";

export interface CronJob extends KubeObject {
  spec: {
    schedule: string;
    timeZone?: string;
    concurrencyPolicy?: string;
    startingDeadlineSeconds?: number;
    successfulJobsHistoryLimit?: number;
    failedJobsHistoryLimit?: number;
    suspend?: boolean;
    jobTemplate: {
      metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
      spec: Job["spec"];
    };
  };
  status?: { active?: object[]; lastScheduleTime?: string; lastSuccessfulTime?: string };
}

/** More missed times than this are an error of clocks or configuration, worth a warning. */
const manyMissed = 100;

export function cronJobController(ctx: ControllerContext): Controller {
  const crons = ctx.resource<CronJob>(cronJobs);
  const jobs = ctx.resource<Job>(jobResource);
  const recorder = ctx.recorder("cronjob-controller");

  return {
    name: "cronjob-controller",
    watches: [watch(crons), watch(jobs, byController("CronJob"))],
    async reconcile({ namespace, name }) {
      const cron = crons.get(name, namespace);
      if (cron === undefined || cron.metadata.deletionTimestamp !== undefined) return;
      const schedule = scheduleOf(cron);
      await trim(cron);
      const due =
        schedule === undefined || cron.spec.suspend === true ? undefined : dueTime(cron, schedule, ctx.now());
      let lastScheduleTime = cron.status?.lastScheduleTime;
      if (due !== undefined && (await start(cron, due))) lastScheduleTime = timestamp(due);
      const latest = crons.get(name, namespace) ?? cron;
      await crons.updateStatus(latest, statusOf(latest, childrenOf(cron), lastScheduleTime));
      if (schedule === undefined || cron.spec.suspend === true) return;
      const next = nextTime(schedule, ctx.now());
      // A hair later than the minute, so that a coarse timer never wakes before it.
      return next === undefined ? {} : { requeueAfter: next - ctx.now() + 100 };
    },
  };

  function childrenOf(cron: CronJob): Job[] {
    return jobs.ownedBy(cron.metadata.uid).filter((job) => controllerOf(job)?.uid === cron.metadata.uid);
  }

  function scheduleOf(cron: CronJob): Schedule | undefined {
    try {
      return parseSchedule(cron.spec.schedule, cron.spec.timeZone);
    } catch (error) {
      recorder.event(
        cron,
        "Warning",
        "UnparseableSchedule",
        `unparseable schedule "${cron.spec.schedule}": ${messageOf(error)}`,
      );
      return undefined;
    }
  }

  /** Answers whether the time counts as served. */
  async function start(cron: CronJob, due: number): Promise<boolean> {
    const { startingDeadlineSeconds, concurrencyPolicy } = cron.spec;
    if (startingDeadlineSeconds !== undefined && due + startingDeadlineSeconds * 1_000 < ctx.now()) {
      recorder.event(
        cron,
        "Warning",
        "MissSchedule",
        `Missed scheduled time to start a job: ${new Date(due).toUTCString()}`,
      );
      return false;
    }
    const active = childrenOf(cron).filter((job) => !isOver(job));
    if (active.length > 0 && concurrencyPolicy === "Forbid") {
      recorder.event(
        cron,
        "Normal",
        "JobAlreadyActive",
        "Not starting job because prior execution is running and concurrency policy is Forbid",
      );
      return false;
    }
    if (concurrencyPolicy === "Replace") {
      for (const job of active) {
        await jobs.delete(job, { propagationPolicy: "Background" });
        recorder.event(cron, "Normal", "SuccessfulDelete", `Deleted job ${job.metadata.name}`);
      }
    }
    const wanted = desiredJob(cron, due);
    try {
      await jobs.create(wanted);
      recorder.event(cron, "Normal", "SuccessfulCreate", `Created job ${wanted.metadata.name}`);
    } catch (error) {
      // Made in an earlier round that did not get to write the status.
      if (error instanceof ApiError && error.reason === "AlreadyExists") return true;
      recorder.event(cron, "Warning", "FailedCreate", `Error creating job: ${messageOf(error)}`);
      throw error;
    }
    return true;
  }

  async function trim(cron: CronJob): Promise<void> {
    const { successfulJobsHistoryLimit = 3, failedJobsHistoryLimit = 1 } = cron.spec;
    const over = childrenOf(cron)
      .filter((job) => isOver(job) && job.metadata.deletionTimestamp === undefined)
      .sort((a, b) => (a.status?.startTime ?? "").localeCompare(b.status?.startTime ?? ""));
    const failed = over.filter((job) => conditionOf(job.status?.conditions, "Failed")?.status === "True");
    const succeeded = over.filter((job) => !failed.includes(job));
    const excess = [
      ...succeeded.slice(0, Math.max(0, succeeded.length - successfulJobsHistoryLimit)),
      ...failed.slice(0, Math.max(0, failed.length - failedJobsHistoryLimit)),
    ];
    for (const job of excess) await jobs.delete(job, { propagationPolicy: "Background" });
  }

  /** The newest time that should have been served and was not. */
  function dueTime(cron: CronJob, schedule: Schedule, now: number): number | undefined {
    const { creationTimestamp } = cron.metadata;
    let from = Date.parse(cron.status?.lastScheduleTime ?? creationTimestamp ?? "") || now;
    const deadline = cron.spec.startingDeadlineSeconds;
    if (deadline !== undefined) from = Math.max(from, now - deadline * 1_000);
    let due: number | undefined;
    let missed = 0;
    for (
      let time = nextTime(schedule, from);
      time !== undefined && time <= now;
      time = nextTime(schedule, time)
    ) {
      due = time;
      missed += 1;
      if (missed <= manyMissed) continue;
      recorder.event(
        cron,
        "Warning",
        "TooManyMissedTimes",
        "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
      );
      // Only the newest matters; do not walk through years of minutes.
      const day = 24 * 60 * 60_000;
      if (now - time > day) time = now - day;
      missed = Number.NEGATIVE_INFINITY;
    }
    return due;
  }
}

function statusOf(cron: CronJob, children: Job[], lastScheduleTime: string | undefined): object {
  const active = children
    .filter((job) => !isOver(job) && job.metadata.deletionTimestamp === undefined)
    .map(({ apiVersion, kind, metadata }) => ({
      apiVersion,
      kind,
      name: metadata.name,
      namespace: metadata.namespace,
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
    }));
  const before = (cron.status?.active ?? []) as { uid?: string }[];
  // A Job's every change would otherwise be a write here, by its resourceVersion alone.
  const same = before.map(({ uid }) => uid).join() === active.map(({ uid }) => uid).join();
  const finished = children.map((job) => job.status?.completionTime ?? "").sort();
  const lastSuccessfulTime = [cron.status?.lastSuccessfulTime ?? "", ...finished].sort().at(-1);
  return {
    ...(active.length === 0 ? {} : { active: same ? before : active }),
    ...(lastScheduleTime === undefined ? {} : { lastScheduleTime }),
    ...(lastSuccessfulTime === "" ? {} : { lastSuccessfulTime }),
  };
}

/** The Job of one scheduled time, named after it: a second attempt cannot make a second one. */
export function desiredJob(cron: CronJob, due: number): Job {
  const { metadata, spec } = cron.spec.jobTemplate;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: `${cron.metadata.name}-${Math.floor(due / 60_000)}`,
      namespace: cron.metadata.namespace,
      ...(metadata?.labels === undefined ? {} : { labels: metadata.labels }),
      annotations: {
        ...metadata?.annotations,
        "batch.kubernetes.io/cronjob-scheduled-timestamp": timestamp(due),
      },
      ownerReferences: [controllerReference(cron)],
    },
    spec: structuredClone(spec),
  };
}
