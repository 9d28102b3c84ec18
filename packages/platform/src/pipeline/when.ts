/** Whether a step's `when` holds for what began a run, and why not. */
import { matchesGlob } from "node:path";
import type { events, PipelineStep } from "../project/pipeline-schema.ts";

export type PipelineEvent = (typeof events)[number];

/** What began a run. */
export interface Trigger {
  event: PipelineEvent;
  /** Undefined where no branch is checked out. */
  branch?: string;
  tag?: string;
  /** Paths below the service's folder; undefined where it is not known what changed, and then every path counts as changed. */
  changed?: string[];
}

/** Why the step is not for this run; undefined where it is. All of its conditions have to hold. */
export function reasonToSkip(when: PipelineStep["when"], trigger: Trigger): string | undefined {
  if (when === undefined) return undefined;
  const { event, branch, tag, changed } = trigger;
  if (when.event !== undefined && !when.event.includes(event)) {
    return `it is for ${when.event.join(", ")}, and this is ${event}`;
  }
  if (when.branch !== undefined && !isMeant(branch, when.branch)) {
    return `it is for the branches ${when.branch.join(", ")}, and this is ${branch ?? "none"}`;
  }
  if (when.tag !== undefined && !isMeant(tag, when.tag)) {
    return `it is for the tags ${when.tag.join(", ")}, and this is ${tag ?? "none"}`;
  }
  const { paths } = when;
  if (paths !== undefined && changed !== undefined && !changed.some((path) => isMeant(path, paths))) {
    return `nothing of ${paths.join(", ")} has changed`;
  }
  return undefined;
}

/** One pattern fits, or there are none but those that leave out; and none of these fits. */
export function isMeant(value: string | undefined, patterns: string[]): boolean {
  if (value === undefined) return false;
  const out = patterns.filter((pattern) => pattern.startsWith("!"));
  const within = patterns.filter((pattern) => !pattern.startsWith("!"));
  const fits = (pattern: string) => matchesGlob(value, pattern);
  return (within.length === 0 || within.some(fits)) && !out.some((pattern) => fits(pattern.slice(1)));
}
