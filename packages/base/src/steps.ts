/** Steps of long work: what runs, how long it took, and the chain of steps that decided the whole time. */

import { messageOf } from "./errors.ts";

export interface StepEvent {
  kind: "start" | "detail" | "done" | "skipped" | "failed";
  id: string;
  title: string;
  /** What it is doing (`detail`), or how it ended. */
  detail?: string;
  /** Since the step began, in milliseconds. */
  elapsedMs: number;
}

export interface StepRecord {
  id: string;
  title: string;
  /** Milliseconds since the work as a whole began. */
  startedMs: number;
  durationMs: number;
  outcome: "done" | "skipped" | "failed";
  /** The steps that had to end first. */
  after: string[];
}

/** What a step's work may say about itself. */
export interface StepHandle {
  detail(text: string): void;
  /** Something out of the ordinary was done, told when the step ends. */
  note(text: string): void;
  /** Nothing had to be done. */
  skip(note?: string): void;
}

export interface StepsOptions {
  /** A monotonic clock in milliseconds. */
  now: () => number;
  onEvent?: (event: StepEvent) => void;
}

export class Steps {
  readonly #now: () => number;
  readonly #emit: (event: StepEvent) => void;
  #began: number;
  #records: StepRecord[] = [];
  #prefix = "";

  constructor(options: StepsOptions) {
    this.#now = options.now;
    this.#emit = options.onEvent ?? (() => {});
    this.#began = options.now();
  }

  /** The same steps, for one of several works whose own steps have the same names. */
  scoped(name: string): Steps {
    const inner = new Steps({ now: this.#now, onEvent: this.#emit });
    inner.#began = this.#began;
    inner.#records = this.#records;
    inner.#prefix = `${this.#prefix}${name}: `;
    return inner;
  }

  async run<T>(
    step: { id: string; title: string; after?: string[] },
    work: (handle: StepHandle) => Promise<T>,
  ): Promise<T> {
    const [id, title] = [this.#prefix + step.id, this.#prefix + step.title];
    const after = (step.after ?? []).map((other) => this.#prefix + other);
    const started = this.#now();
    let outcome = "done" as StepRecord["outcome"];
    let note: string | undefined;
    const emit = (kind: StepEvent["kind"], detail?: string) => {
      const event: StepEvent = { kind, id, title, elapsedMs: this.#now() - started };
      this.#emit(detail === undefined ? event : { ...event, detail });
    };
    emit("start");
    try {
      return await work({
        detail: (text) => emit("detail", text),
        note: (text) => {
          note = note === undefined ? text : `${note}; ${text}`;
        },
        skip: (text) => {
          outcome = "skipped";
          if (text !== undefined) note = note === undefined ? text : `${text}; ${note}`;
        },
      });
    } catch (error) {
      // What was given up because something else failed did not fail itself.
      if (outcome !== "skipped") {
        outcome = "failed";
        [note] = messageOf(error).split("\n");
      }
      throw error;
    } finally {
      const durationMs = this.#now() - started;
      this.#records.push({ id, title, startedMs: started - this.#began, durationMs, outcome, after });
      emit(outcome, note);
    }
  }

  records(): StepRecord[] {
    return this.#records.toSorted((a, b) => a.startedMs - b.startedMs);
  }

  /** From the step that ended last back through, each time, the one it waited for longest. */
  criticalPath(): StepRecord[] {
    return criticalPath(this.#records);
  }
}

export function criticalPath(records: StepRecord[]): StepRecord[] {
  const byId = new Map(records.map((record) => [record.id, record]));
  const end = (record: StepRecord) => record.startedMs + record.durationMs;
  const latest = (among: StepRecord[]) => among.toSorted((a, b) => end(b) - end(a))[0];
  const path: StepRecord[] = [];
  for (let step = latest(records); step !== undefined && !path.includes(step);) {
    path.unshift(step);
    step = latest(step.after.map((id) => byId.get(id)).filter((record) => record !== undefined));
  }
  return path;
}
