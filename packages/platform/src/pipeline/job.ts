/** What a job has to work with, and what comes of it. */
import type { StepHandle } from "@kws/base/steps";
import type { Connection } from "../providers/provider.ts";
import type { NamespaceView } from "../stacks/view.ts";
import type { TestCounts } from "../tests/junit.ts";
import type { TestRecord } from "./flaky.ts";
import type { Job } from "./plan.ts";

export interface JobResult {
  job: string;
  title: string;
  /** `blocked`: something that it needs failed. */
  outcome: "passed" | "failed" | "skipped" | "blocked";
  /** Why it did not pass, or was left out. */
  why?: string;
  /** RFC 3339; none where it did not begin. */
  startedAt?: string;
  durationMs: number;
  attempts: number;
  /** Of its `outputs`, or what a built-in step tells: `image`, `package`. */
  outputs: Record<string, string>;
  /** It has files that later steps get. */
  artifacts?: boolean;
  /** What was found of its `cache`. */
  cache?: "hit" | "miss";
  tests?: TestCounts;
  /** Every test, for what is known of flaky ones. */
  records?: TestRecord[];
}

/** What one job says of itself; the rest is the run's to say. */
export type JobEnd = Pick<JobResult, "outcome"> & Partial<JobResult>;

export interface JobContext {
  job: Job;
  /** Those that have ended. */
  results: ReadonlyMap<string, JobResult>;
  namespace: string;
  connection: Connection;
  /** Of the namespace, open. */
  view: NamespaceView;
  /** Masked, and stored; resolves when more can be taken. */
  log: (text: string | Uint8Array) => Promise<void>;
  step: StepHandle;
  signal: AbortSignal;
}
