/**
 * Deploying packages: a release of one service, or of all of a manifest, goes from what runs to the packages, or stays what it
 * was. Helm's own history of the release says who did what, and why.
 */
import { messageOf, UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import type { Connection, Provider } from "../providers/provider.ts";
import { redactor } from "../charts/redact.ts";
import { listRevisions, type Release } from "../services/releases.ts";
import { workloadsOf } from "../services/workloads.ts";
import { rollback, uninstall } from "../stacks/helm.ts";
import {
  dropUnfinished,
  fingerprintOf,
  helmOptions,
  install,
  type InstallOptions,
  ready,
  rememberWorkloads,
} from "../stacks/install.ts";
import type { Holder } from "../services/lease.ts";
import { lockStack } from "../stacks/lock.ts";
import { ensureNamespace, refuseForeign } from "../stacks/namespace.ts";
import { labelParts } from "../stacks/parts.ts";
import type { StackPlace } from "../stacks/ready.ts";
import { recordStack } from "../stacks/record.ts";
import { NamespaceView } from "../stacks/view.ts";
import type { PackageSource } from "../packages/fetch.ts";
import { importImages, localImages } from "../packages/images.ts";
import { inPackage, type Prepared, renderPrepared } from "../packages/prepare.ts";
import { reworded } from "../packages/reword.ts";
import { describe, labelsOf, servicesOf, type Unit } from "./unit.ts";

export interface DeployOptions {
  /** The workspace. */
  project: { name: string };
  stack: StackPlace;
  /** Has the packages' images, where they are kept on this machine. */
  source: PackageSource;
  provider: Provider;
  connection: Connection;
  /** The path of the program. */
  helm: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
  steps: Steps;
  signal: AbortSignal;
  /** For the service to become ready. */
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** Who deploys, for the lock and the history. */
  holder: Holder;
  /** Why, for the history. */
  reason?: string | undefined;
}

/** Programs that run at once; more of them only take each other's processor. */
const helmsAtATime = 4;

export interface Deployed {
  service: string;
  stack: string;
  namespace: string;
  profile: string;
  version: string;
  /** Of the package. */
  digest: string;
  /** The version that ran before; empty where there was none, or one that is no package. */
  from: string;
  /** Installed or upgraded; false where it already was as wanted. */
  changed: boolean;
}

/** Deploys the units, each as soon as nothing in an earlier wave is missing. One that fails is rolled back alone. */
export async function deploy(waves: Unit[][], options: DeployOptions): Promise<Deployed[]> {
  const { connection, stack, project } = options;
  const all = waves.flat();
  const limit = limiter(helmsAtATime);
  const rendering = { ...options, namespace: stack.namespace, kubeconfig: connection.kubeconfig };
  // A manifest as one release was rendered when that was chosen.
  const unseen = all.filter(({ together }) => !together).flatMap(({ parts }) => parts);
  await using view = new NamespaceView(connection.client, stack.namespace);
  // Of several, the last must not turn out to be faulty when the first are installed.
  const unsure = unseen.filter(({ renderFirst }) => renderFirst || unseen.length > 1);
  await Promise.all(unsure.map((one) => limit(() => renderPrepared(one, rendering))));
  await ensureNamespace(options);
  await using lock = await lockStack({
    ...options,
    client: connection.client,
    stack: stack.name,
    namespace: stack.namespace,
  });
  const signal = AbortSignal.any([options.signal, lock.signal]);
  const claims = all.map((unit) => Object.assign({ services: servicesOf(unit) }, unit));
  await refuseForeign({ ...options, signal }, claims);
  const deployed: Deployed[] = [];
  for (const wave of waves) {
    const results = await Promise.allSettled(
      wave.map((unit) => deployUnit(unit, { ...options, view, signal, lost: lock.signal, limit })),
    );
    deployed.push(...results.flatMap((result) => (result.status === "fulfilled" ? result.value : [])));
    const failed = results.find(({ status }) => status === "rejected");
    await recordStack(connection.client, {
      stack: stack.name,
      namespace: stack.namespace,
      workspace: project.name,
      services: deployed.map(({ service }) => service),
      // What a manifest no longer has is not missed.
      whole: failed === undefined && wave.some(({ together }) => together),
      // Also after an interrupt: it says what was done.
      signal: AbortSignal.timeout(options.timeoutMs),
    });
    if (failed?.status === "rejected") throw failed.reason;
  }
  return deployed;
}

interface Context extends DeployOptions, InstallOptions {
  signal: AbortSignal;
  /** For Helm. */
  limit: <T>(work: () => Promise<T>) => Promise<T>;
  /** Aborts where somebody else took the lock: then nothing may be undone any more. */
  lost: AbortSignal;
}

async function deployUnit(unit: Unit, context: Context): Promise<Deployed[]> {
  const { release, chart, version } = unit;
  const services = servicesOf(unit);
  // Pods may repeat secrets in the lines that are shown of them.
  const secret = redactor(chart.layers).text;
  const places = unit.parts.map(({ found, chart: own }) => inPackage(found, own.dir));
  const hide = (text: string) => places.reduce((told, inWords) => inWords(told), secret(text));
  const { stack, steps, view } = context;
  const before = await history(release, context);
  const fingerprint = fingerprintOf(chart, chart.values);
  const [newest] = before;
  const same =
    newest?.status === "deployed" &&
    newest.fingerprint === fingerprint &&
    newest.version === version &&
    (unit.together || newest.profile === unit.parts[0]?.profile);
  if (same) await view.open();
  const unchanged =
    same &&
    services.flatMap((service) => workloadsOf(view.objects(), service)).length >= (newest.workloads ?? 0);
  const running = lastGood(before) ?? newest;
  const result = unit.parts.map(({ found, profile }): Deployed => {
    const held = unit.together ? running?.parts.find(({ service }) => service === found.service) : running;
    return {
      service: found.service,
      stack: stack.name,
      namespace: stack.namespace,
      profile,
      version: found.version,
      digest: found.digest,
      from: held?.version ?? "",
      changed: !unchanged,
    };
  });
  if (unchanged) {
    // Not remembered unless it was ready before: whoever deployed it may have been killed.
    await allReady(unit, context, { after: [], unchanged, remember: newest.workloads === undefined });
    return result;
  }
  for (const one of unit.parts) await bringImages(one, context);
  const installId = `deploy ${release}`;
  const labels = labelsOf(unit, { stack: stack.name, workspace: context.project.name, fingerprint }, newest);
  try {
    const description = describe(unit, running, context);
    await steps.run({ id: installId, title: `deploy ${release} ${version}` }, () =>
      reworded(hide, () =>
        context.limit(() =>
          install(context, { release, services, chart, values: chart.values, labels, description }),
        ),
      ),
    );
    await reworded(hide, () => allReady(unit, context, { after: [installId], remember: true }));
  } catch (error) {
    if (context.lost.aborted) throw context.lost.reason;
    const outcome = await undo(unit, before, context, error);
    throw failureWith(error, unit, outcome, context);
  }
  return result;
}

/** Waits for all services of the unit; where one fails, for none of the others. */
async function allReady(
  unit: Unit,
  context: Context,
  { after, unchanged, remember }: { after: string[]; unchanged?: boolean; remember: boolean },
): Promise<void> {
  const { steps, connection, view } = context;
  const { release, together } = unit;
  const services = servicesOf(unit);
  if (together) await labelParts(connection.client, { ...context, release });
  const failed = new AbortController();
  const signal = AbortSignal.any([context.signal, failed.signal]);
  const waits = services.map(async (service) => {
    try {
      await steps.run({ id: `ready ${service}`, title: `ready ${service}`, after }, async (step) => {
        if (unchanged === true) step.skip("unchanged");
        await ready({ ...context, signal }, service, { step, remember: remember && !together });
      });
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  });
  await Promise.allSettled(waits);
  context.signal.throwIfAborted();
  failed.signal.throwIfAborted();
  if (!together || !remember) return;
  await view.refresh();
  await rememberWorkloads(context, { release, services });
}

/** The revisions that Helm finished, the newest first; those that it was killed in are dropped. */
async function history(release: string, { connection, stack, signal }: Context): Promise<Release[]> {
  const all = await listRevisions(connection.client, { namespace: stack.namespace, release, signal });
  await dropUnfinished(connection.client, all);
  return all.filter(({ status }) => !/^(pending|uninstalling)/.test(status));
}

/** The newest revision that is known to have been ready. */
function lastGood(revisions: Release[]): Release | undefined {
  return revisions.find(
    ({ status, workloads }) => /^(deployed|superseded)$/.test(status) && workloads !== undefined,
  );
}

/** Images that no registry has go to the cluster from here. */
async function bringImages({ found }: Prepared, context: Context): Promise<void> {
  const { service, version } = found;
  const images = localImages(found);
  if (images.length === 0) return;
  const { source, provider, steps, signal } = context;
  await steps.run({ id: `image ${service}`, title: `image ${service}` }, async (step) => {
    if (!(await importImages({ images, version }, { source, provider, signal }))) step.skip("present");
  });
}

/** Puts back what ran before, and answers what it did in words. */
async function undo(unit: Unit, before: Release[], context: Context, cause: unknown): Promise<string> {
  const { release, together } = unit;
  const { stack } = context;
  const hide = redactor(unit.chart.layers).text;
  const good = lastGood(before);
  if (good === undefined && before.length > 0)
    return `no earlier revision of ${release} was ready, so it is left as it is`;
  const to =
    good === undefined ? undefined : `${good.version || "the build before"} (revision ${good.revision})`;
  // What interrupted the deployment must not interrupt its undoing.
  const signal = AbortSignal.any([context.lost, AbortSignal.timeout(2 * context.timeoutMs)]);
  const own = { ...context, signal };
  const { connection } = context;
  const title = to === undefined ? `remove ${release}` : `roll ${release} back to ${to}`;
  try {
    // Helm refuses a faulty chart before it changes anything.
    const [newest] = await listRevisions(connection.client, { namespace: stack.namespace, release, signal });
    if (newest?.revision === before[0]?.revision && newest?.status === before[0]?.status) {
      return before.length === 0 ? `nothing of ${release} was installed` : `${release} was not changed`;
    }
    await context.steps.run({ id: `undo ${release}`, title }, (step) =>
      reworded(hide, async () => {
        const target = { ...helmOptions(own), release, timeoutMs: context.timeoutMs };
        if (good === undefined) return uninstall(target);
        await rollback({ ...target, revision: good.revision });
        if (together) await labelParts(connection.client, { ...own, release });
        const services = together ? good.parts.map(({ service }) => service) : [release];
        for (const service of services) await ready(own, service, { step, remember: false });
      }),
    );
  } catch (error) {
    throw new UserError(`${messageOf(cause)}\nand then: ${title} failed: ${messageOf(error)}`, {
      fix: `See \`kws stack status ${context.stack.name}\` and \`helm history ${release}\`.`,
      cause: error,
    });
  }
  return to === undefined ? `nothing of ${release} is left` : `${release} runs ${to} again`;
}

function failureWith(error: unknown, unit: Unit, outcome: string, context: Context): unknown {
  if (context.signal.aborted) {
    return new UserError(`interrupted: ${outcome}`, { code: "interrupted", fix: "Deploy it again." });
  }
  if (!(error instanceof UserError)) return error;
  return new UserError(`${error.message}\n${outcome}`, {
    code: error.code,
    fix: unit.together
      ? `Mend it, package it, and build and install the next manifest ${unit.release}.`
      : `Mend ${unit.release}, package it, and deploy the new version.`,
    cause: error,
    ...(error.at === undefined ? {} : { at: error.at }),
  });
}
