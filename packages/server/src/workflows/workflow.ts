/** Work that survives the server: its finished steps are in the database, and it goes on after the last of them, here or elsewhere. */
import type { ServerContext } from "../context.ts";

/** Runs the function once and keeps its result; after a crash inside of it, it runs again. Results are JSON. */
export type Step = <Result>(name: string, run: () => Promise<Result>) => Promise<Result>;

/**
 * What `run` does outside of steps must come out the same each time: no clocks, no random numbers, no reading of the database.
 * `name` and the order of the steps are what runs in the database are taken up by: never change them for runs that may exist.
 */
export interface Workflow<Input = never> {
  name: string;
  /** How many of its steps run at the same time on one server; as many as there are unless given. */
  together?: number;
  run(ctx: ServerContext, input: Input, step: Step): Promise<void>;
}

export function defineWorkflow<Input>(workflow: Workflow<Input>): Workflow<Input> {
  return workflow;
}

/** What a workflow waits for when the server ends in the middle of it: nothing is recorded, and the next server goes on. */
export function handedOver(): Promise<never> {
  return new Promise(() => {});
}
