/** One service's release: installed or upgraded by Helm, and watched until it is ready or known to fail. */
import { createHash } from "node:crypto";
import type { Logger } from "@kws/base/logger";
import type { StepHandle } from "@kws/base/steps";
import type { KubeClient } from "@kws/kube/client";
import { secrets } from "@kws/kube/resources";
import { isApiError } from "@kws/kube/status";
import type { Chart } from "../charts/chart.ts";
import type { Values } from "../charts/layers.ts";
import { redactor } from "../charts/redact.ts";
import type { Connection } from "../providers/provider.ts";
import { fieldManager, workloadsLabel } from "../services/labels.ts";
import type { Release } from "../services/releases.ts";
import { workloadsOf } from "../services/workloads.ts";
import { diagnoseHooks } from "./diagnose.ts";
import { type HelmOptions, upgrade } from "./helm.ts";
import { type Claim, ownRelease } from "./namespace.ts";
import { failureOf, labelWorkloads, type StackPlace, untilReady } from "./ready.ts";
import type { NamespaceView } from "./view.ts";

/** Where a release is made, and how. */
export interface InstallOptions {
  stack: StackPlace;
  connection: Connection;
  /** Of the stack's namespace. */
  view: NamespaceView;
  /** The path of the program. */
  helm: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
  signal: AbortSignal;
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export interface Installation {
  release: string;
  /** That it holds. */
  services: string[];
  chart: Pick<Chart, "dir" | "layers" | "hasHooks">;
  values: Values;
  /** Kept on Helm's own Secret of the release; "null" takes one away that an older revision had. */
  labels: Record<string, string>;
  /** What `helm history` shows; Helm's own words unless given. */
  description?: string;
}

/** How Helm is run for a release of the stack. */
export function helmOptions(options: InstallOptions): HelmOptions {
  const { helm, connection, stack, env, log, signal } = options;
  return { helm, kubeconfig: connection.kubeconfig, namespace: stack.namespace, env, log, signal };
}

/** Runs Helm, and meanwhile looks at its hooks: one that cannot succeed ends the wait. */
export async function install(options: InstallOptions, one: Installation): Promise<void> {
  const { connection, stack, view, clock } = options;
  const hopeless = new AbortController();
  const finished = new AbortController();
  const findFault = () => {
    for (const service of one.services) {
      const fault = diagnoseHooks(view.objects(), { service, release: one.release }, clock());
      if (fault !== undefined) return { service, fault };
    }
    return undefined;
  };
  const watchHooks = async () => {
    await view.open();
    return view.until(findFault, finished.signal);
  };
  const watching = one.chart.hasHooks ? watchHooks() : Promise.resolve(undefined);
  const diagnosed = watching
    .then((found) => {
      if (found !== undefined) hopeless.abort(new Error("a hook fails"));
      return found;
    })
    .catch(() => undefined);
  try {
    await upgrade({
      ...helmOptions(options),
      signal: AbortSignal.any([options.signal, hopeless.signal]),
      release: one.release,
      chart: one.chart.dir,
      values: one.values,
      hide: redactor(one.chart.layers).text,
      labels: one.labels,
      ...(one.description === undefined ? {} : { description: one.description }),
      timeoutMs: options.timeoutMs,
    });
  } catch (error) {
    options.signal.throwIfAborted();
    if (!hopeless.signal.aborted) await view.refresh();
    const found = hopeless.signal.aborted ? await diagnosed : findFault();
    if (found === undefined) throw error;
    throw await failureOf(connection, stack, found.service, found.fault);
  } finally {
    finished.abort(new Error("finished"));
    await diagnosed;
  }
}

/** Waits until what is installed runs, or throws why it will not. `remember` counts its workloads for later starts. */
export async function ready(
  options: InstallOptions,
  service: string,
  { step, remember }: { step: StepHandle; remember: boolean },
): Promise<void> {
  const { connection, stack, view } = options;
  await view.refresh();
  await labelWorkloads(connection.client, view, service, stack);
  await untilReady({ ...options, service, step });
  if (remember) await rememberWorkloads(options, ownRelease(service));
}

/** On Helm's Secret of the newest revision, beside the labels that Helm puts there. */
export async function rememberWorkloads(
  options: InstallOptions,
  { release, services }: Pick<Claim, "release" | "services">,
): Promise<void> {
  const { connection, stack, view, signal } = options;
  const { client } = connection;
  const list = await client.list(secrets, stack.namespace, {
    labelSelector: `owner=helm,status=deployed,name=${release}`,
    signal,
  });
  const workloads = services.flatMap((service) => workloadsOf(view.objects(), service));
  const labels = { [workloadsLabel]: String(workloads.length) };
  await Promise.all(
    list.items.map(({ metadata }) =>
      client.patch(
        secrets,
        metadata.name,
        stack.namespace,
        "merge",
        { metadata: { labels } },
        { fieldManager },
      ),
    ),
  );
}

/**
 * A Helm that was killed leaves its revision pending (or uninstalling) for ever, and every later one is refused: such
 * revisions are forgotten. Nobody else works on them, because the stack is locked.
 */
export async function dropUnfinished(client: KubeClient, releases: Release[]): Promise<void> {
  for (const release of releases.filter(({ status }) => /^(pending|uninstalling)/.test(status))) {
    try {
      await client.delete(secrets, release.secret, release.namespace);
    } catch (error) {
      if (!isApiError(error, "NotFound")) throw error;
    }
  }
}

/** What decides whether a release has to be installed again. */
export function fingerprintOf(chart: Pick<Chart, "digest">, values: Values): string {
  const text = JSON.stringify([chart.digest, values]);
  return createHash("sha256").update(text).digest("hex").slice(0, 40);
}
