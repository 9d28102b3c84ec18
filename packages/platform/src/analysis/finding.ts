/** What an analysis says: findings of checks, each with what it means and what to do. */
import { UserError } from "@kws/base/errors";
import type { Subject } from "./subject.ts";

/** The worst first. */
export const severities = ["error", "warning", "info", "ok"] as const;
export type Severity = (typeof severities)[number];

/** What a check looks at; in the order in which they are told. */
export const families = ["machine", "cluster", "workspace", "service"] as const;
export type Family = (typeof families)[number];

export interface Finding {
  severity: Severity;
  /** What is so, and why it matters. */
  message: string;
  /** `file:line:column`, a folder, or an object such as `orders: Deployment/orders`. */
  where?: string;
  /** A command or an edit, as an imperative sentence. */
  fix?: string;
  /** The safe fix that `--fix` makes. */
  repair?: Repair;
}

export interface Repair {
  /** What was done, once it is. */
  done: string;
  apply(): Promise<void>;
}

export interface Check {
  /** Stable: scripts name it. */
  id: string;
  family: Family;
  /** What is tried or read, for the reference. */
  about: string;
  /** Longer than usual, for those that render charts. */
  timeoutMs?: number;
  /** Nothing where it does not apply. What it waits for ends with the signal. */
  run(subject: Subject, signal: AbortSignal): Promise<Finding[]>;
}

export const ok = (message: string): Finding => ({ severity: "ok", message });

/** What was thrown, as a finding; `where` stands in where it says no place. */
export function faultFinding({ message, at, fix }: UserError, where?: string): Finding {
  const place = at ?? where;
  return {
    severity: "error",
    message,
    ...(place === undefined ? {} : { where: place }),
    ...(fix === undefined ? {} : { fix }),
  };
}

/** For `catch`: what kws knows how to say; a bug goes on. */
export function faultOf(error: unknown): UserError {
  if (error instanceof UserError) return error;
  throw error;
}
