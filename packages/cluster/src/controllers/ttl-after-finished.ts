/**
 * Deletes Jobs whose time to live after their end has passed
 * (https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/).
 */
import { keyOf } from "@kws/kube/object";
import { jobs as jobResource } from "@kws/kube/resources";
import { watch, type Controller, type ControllerContext } from "./context.ts";
import { isOver } from "./job.ts";
import type { Job } from "./job-policy.ts";

export function ttlAfterFinishedController(ctx: ControllerContext): Controller {
  const jobs = ctx.resource<Job>(jobResource);
  return {
    name: "ttl-after-finished-controller",
    watches: [watch(jobs, (job) => (job.spec.ttlSecondsAfterFinished === undefined ? [] : [keyOf(job)]))],
    async reconcile({ namespace, name }) {
      const job = jobs.get(name, namespace);
      if (job === undefined || job.metadata.deletionTimestamp !== undefined || !isOver(job)) return;
      const ttl = job.spec.ttlSecondsAfterFinished;
      const ended = (job.status?.conditions ?? []).find(
        ({ type, status }) => ["Complete", "Failed"].includes(type) && status === "True",
      )?.lastTransitionTime;
      if (ttl === undefined || ended === undefined) return;
      const left = Date.parse(ended) + ttl * 1_000 - ctx.now();
      if (left > 0) return { requeueAfter: left };
      await jobs.delete(job, { propagationPolicy: "Foreground" });
      return;
    },
  };
}
