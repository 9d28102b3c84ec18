/** Datastores that are started for tests alone: each a pod and its Service, awaited until its probe passes. */
import { parseDuration } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import type { Steps } from "@kws/base/steps";
import { conditionOf } from "@kws/kube/readiness";
import { pods, services } from "@kws/kube/resources";
import type { Datastore } from "../project/schema.ts";
import type { Connection } from "../providers/provider.ts";
import { fieldManager } from "../services/labels.ts";
import type { NamespaceView } from "../stacks/view.ts";
import { podFault } from "./fault.ts";
import type { TestSuite } from "./levels.ts";
import { datastoreObjects } from "./objects.ts";
import type { Place } from "./place.ts";

export interface DatastoreOptions {
  suite: TestSuite;
  place: Pick<Place, "namespace" | "secret">;
  connection: Connection;
  /** Of the namespace, open. */
  view: NamespaceView;
  /** The images to run, by the datastores' names. */
  images: Map<string, string>;
  steps: Steps;
  signal: AbortSignal;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

/** Starts all of a suite's at once. Throws what is wrong with the first that does not become ready, with its last words. */
export async function startDatastores(options: DatastoreOptions): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const all = Object.entries(options.suite.config.datastores ?? {}).map(([name, config]) =>
    startDatastore(name, config, { ...options, signal }).catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(all);
  options.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
}

async function startDatastore(name: string, config: Datastore, options: DatastoreOptions): Promise<void> {
  const { suite, place, connection, view, images, clock, signal } = options;
  const { namespace } = place;
  const timeoutMs = parseDuration(config.timeout ?? "2m");
  await options.steps.run({ id: `datastore ${name}`, title: `datastore ${name}` }, async () => {
    const image = images.get(name) ?? "";
    const { pod, service } = datastoreObjects(name, { place, suite, config, image });
    // Applied, so that a run that goes on after its process was killed finds its own.
    await connection.client.apply(services, service, { fieldManager, signal });
    await connection.client.apply(pods, pod, { fieldManager, signal });
    const deadline = clock() + timeoutMs;
    const at = suite.service.file.at(["tests", suite.level, "datastores", name]);
    await view.until(async () => {
      const now = view.objects().pods.find(({ metadata }) => metadata.name === name);
      if (now !== undefined && conditionOf(now, "Ready")?.status === "True") return true;
      const about = { connection, namespace, at, what: `the datastore ${name}` };
      const fault = now === undefined ? undefined : await podFault(now, name, { ...about, now: clock() });
      if (fault !== undefined) throw fault;
      if (clock() < deadline) return undefined;
      throw new UserError(`the datastore ${name} did not become ready in ${timeoutMs / 1000} s`, {
        code: "timeout",
        at,
        fix: "Give it a longer `timeout`, or correct what `ready` asks for.",
      });
    }, signal);
  });
}
