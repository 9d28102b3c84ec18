/** What a development session tells, as data: lines on a pipe and a text interface show the same. */
import type { DebugLanguage, DevRule } from "../project/schema.ts";

/**
 * `starting`: the dev container comes; `waiting`: it waits for the first files; `running`: the process runs; `ended`: it
 * crashed or ended, and a change starts it again; `building`: a new image; `stopped`: the session is over.
 */
export type DevState = "starting" | "waiting" | "running" | "ended" | "building" | "stopped";

export type Happening =
  | { kind: "state"; state: DevState; ready: boolean; pod?: string; exitCode?: number }
  | { kind: "log"; time: string; text: string }
  | { kind: "change"; paths: string[]; action: DevRule["action"] }
  /** Where editors attach, undefined where they run their debugger in the container; and the files that were written for them. */
  | { kind: "debug"; language: DebugLanguage; address?: string; files: string[] }
  | { kind: "problem"; message: string; fix?: string }
  | { kind: "note"; message: string };

export type DevEvent = Happening & { service: string };
