/** Jobs and CronJobs. */
import { randomUUID } from "node:crypto";
import type { KubeObject } from "@kws/kube/object";
import { validateCronSchedule, validateTimeZone } from "./cron-schedule.ts";
import { forbidden, immutable, invalid, nonNegative, oneOf, required } from "./cause.ts";
import { validateJobSpec } from "./job-validation.ts";
import { list, omit } from "./loose.ts";
import { setPodTemplateDefaults } from "./pod-defaults.ts";
import type { Fields, ResourceDefinition } from "./resource.ts";
import { define } from "./simple.ts";
import {
  age,
  ageColumn,
  column,
  containerCells,
  containerColumns,
  formatLabelSelector,
  humanDuration,
  nameColumn,
  orNone,
  selectorColumn,
  since,
} from "./table.ts";

export const job: ResourceDefinition = define(
  { group: "batch", kind: "Job", resource: "jobs" },
  {
    categories: ["all"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      if (spec.completions === undefined && spec.parallelism === undefined) {
        spec.completions = 1;
        spec.parallelism = 1;
      }
      spec.parallelism ??= 1;
      spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : 2_147_483_647;
      spec.completionMode ??= "NonIndexed";
      spec.suspend ??= false;
      spec.manualSelector ??= false;
      spec.podReplacementPolicy ??= spec.podFailurePolicy === undefined ? "TerminatingOrFailed" : "Failed";
      for (const rule of spec.podFailurePolicy?.rules ?? []) {
        for (const pattern of rule.onPodConditions ?? []) pattern.status ??= "True";
      }
      setPodTemplateDefaults(spec.template);
      const labels = spec.template?.metadata?.labels;
      if (labels && Object.keys(object.metadata.labels ?? {}).length === 0)
        object.metadata.labels = { ...labels };
    },
    prepareForCreate(object) {
      delete object["status"];
      if (object["spec"]?.manualSelector !== true) generateSelector(object);
    },
    prepareForUpdate(object, old) {
      if (old["status"] !== undefined) object["status"] = old["status"];
      else delete object["status"];
    },
    validate(object, old) {
      const causes = validateJobSpec(object, "spec");
      if (old === undefined) return causes;
      return [...causes, ...validateJobUpdate(object, old)];
    },
    selectableFields: { "status.successful": (object) => String(object["status"]?.succeeded ?? 0) },
    columns: [
      nameColumn,
      column("Status", "Status of the job."),
      column("Completions", "Pods that ended successfully, of those wanted."),
      column("Duration", "Time the job ran, or has been running."),
      ageColumn,
      ...containerColumns,
      selectorColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      return [
        object.metadata.name,
        statusOf(object),
        completionsOf(object),
        durationOf(object, now),
        age(object, now),
        ...containerCells(spec["template"]?.spec),
        formatLabelSelector(spec["selector"]),
      ];
    },
  },
);

/** Upstream's `generateSelector`: the job's own uid selects its pods, under the new and the legacy labels. */
function generateSelector(object: KubeObject): void {
  const uid = (object.metadata.uid ??= randomUUID());
  const spec: Fields = object["spec"] ?? {};
  if (!spec["template"]) return;
  spec["template"].metadata ??= {};
  const labels = (spec["template"].metadata.labels ??= {});
  labels["job-name"] ??= object.metadata.name;
  labels["batch.kubernetes.io/job-name"] ??= object.metadata.name;
  labels["controller-uid"] ??= uid;
  labels["batch.kubernetes.io/controller-uid"] ??= uid;
  spec["selector"] ??= {};
  spec["selector"].matchLabels ??= {};
  spec["selector"].matchLabels["batch.kubernetes.io/controller-uid"] ??= uid;
}

/** What a Job must keep: its template may change in scheduling directives while it is suspended and has not started. */
function validateJobUpdate(object: KubeObject, old: KubeObject) {
  const spec: Fields = object["spec"] ?? {};
  const before: Fields = old["spec"] ?? {};
  const startable = before["suspend"] === true && !old["status"]?.startTime;
  const elastic = spec["completionMode"] === "Indexed" && spec["completions"] === spec["parallelism"];
  return [
    ...(elastic ? [] : immutable("spec.completions", spec["completions"], before["completions"])),
    ...immutable("spec.selector", spec["selector"], before["selector"]),
    ...immutable(
      "spec.template",
      startable ? withoutScheduling(spec["template"]) : spec["template"],
      startable ? withoutScheduling(before["template"]) : before["template"],
    ),
    ...["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"].flatMap(
      (field) => immutable(`spec.${field}`, spec[field], before[field]),
    ),
  ];
}

function withoutScheduling(template: Fields | undefined): Fields {
  const bare = (containers: unknown) => list(containers).map((container) => omit(container, "resources"));
  const spec: Fields = template?.["spec"] ?? {};
  return {
    ...omit(spec, "nodeSelector", "affinity", "tolerations", "schedulingGates"),
    containers: bare(spec["containers"]),
    initContainers: bare(spec["initContainers"]),
  };
}

function hasCondition(object: KubeObject, type: string): boolean {
  return (object["status"]?.conditions ?? []).some(
    (condition: Fields) => condition["type"] === type && condition["status"] === "True",
  );
}

function statusOf(object: KubeObject): string {
  if (hasCondition(object, "Complete")) return "Complete";
  if (hasCondition(object, "Failed")) return "Failed";
  if (object.metadata.deletionTimestamp) return "Terminating";
  if (hasCondition(object, "Suspended")) return "Suspended";
  if (hasCondition(object, "FailureTarget")) return "FailureTarget";
  if (hasCondition(object, "SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}

function completionsOf(object: KubeObject): string {
  const succeeded = object["status"]?.succeeded ?? 0;
  const { completions, parallelism = 0 } = object["spec"] ?? {};
  if (completions !== undefined && completions !== null) return `${succeeded}/${completions}`;
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function durationOf(object: KubeObject, now: number): string {
  const { startTime, completionTime } = object["status"] ?? {};
  if (!startTime) return "";
  const failed = (object["status"].conditions ?? []).find(
    (condition: Fields) => condition["type"] === "Failed" && condition["status"] === "True",
  );
  const end = completionTime ?? failed?.lastTransitionTime;
  return humanDuration((end ? Date.parse(end) : now) - Date.parse(startTime));
}

export const cronJob: ResourceDefinition = define(
  { group: "batch", kind: "CronJob", resource: "cronjobs" },
  {
    shortNames: ["cj"],
    categories: ["all"],
    hasStatus: true,
    setDefaults(object) {
      const spec = (object["spec"] ??= {});
      spec.concurrencyPolicy ||= "Allow";
      spec.suspend ??= false;
      spec.successfulJobsHistoryLimit ??= 3;
      spec.failedJobsHistoryLimit ??= 1;
      setPodTemplateDefaults(spec.jobTemplate?.spec?.template);
    },
    validate(object) {
      const spec: Fields = object["spec"] ?? {};
      const causes = [
        ...validateCronSchedule("spec.schedule", spec["schedule"], spec["timeZone"]),
        ...validateTimeZone("spec.timeZone", spec["timeZone"]),
        ...oneOf("spec.concurrencyPolicy", spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"]),
        ...nonNegative("spec.startingDeadlineSeconds", spec["startingDeadlineSeconds"]),
        ...nonNegative("spec.successfulJobsHistoryLimit", spec["successfulJobsHistoryLimit"]),
        ...nonNegative("spec.failedJobsHistoryLimit", spec["failedJobsHistoryLimit"]),
      ];
      if (Buffer.byteLength(object.metadata.name ?? "") > 52) {
        causes.push(invalid("metadata.name", object.metadata.name, "must be no more than 52 characters"));
      }
      if (!spec["jobTemplate"]) return [...causes, required("spec.jobTemplate")];
      if (spec["jobTemplate"].spec?.manualSelector === true) {
        causes.push(forbidden("spec.jobTemplate.spec.manualSelector", "may not be set to true"));
      }
      return [
        ...causes,
        ...validateJobSpec(spec["jobTemplate"], "spec.jobTemplate.spec", { template: true }),
      ];
    },
    columns: [
      nameColumn,
      column("Schedule", "When jobs start, in cron format."),
      column("Timezone", "The time zone of the schedule."),
      column("Suspend", "Whether no further jobs start.", { type: "boolean" }),
      column("Active", "Number of jobs that run now.", { type: "integer" }),
      column("Last Schedule", "Time since a job was last started."),
      ageColumn,
      ...containerColumns,
      selectorColumn,
    ],
    row(object, now) {
      const spec: Fields = object["spec"] ?? {};
      const last = object["status"]?.lastScheduleTime;
      return [
        object.metadata.name,
        spec["schedule"] ?? "",
        orNone(spec["timeZone"]),
        spec["suspend"] === undefined ? "<unset>" : spec["suspend"] ? "True" : "False",
        (object["status"]?.active ?? []).length,
        last ? since(last, now) : "<none>",
        age(object, now),
        ...containerCells(spec["jobTemplate"]?.spec?.template?.spec),
        formatLabelSelector(spec["jobTemplate"]?.spec?.selector),
      ];
    },
  },
);
