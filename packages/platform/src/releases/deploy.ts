/**
 * Deploying a package: one service's release goes from what runs to the package, or stays what it was. Helm's own history of
 * the release says who did what, and why.
 */
import { messageOf, UserError } from "@kws/base/errors";
import { limiter } from "@kws/base/limiter";
import type { Logger } from "@kws/base/logger";
import type { Steps } from "@kws/base/steps";
import { copy } from "@kws/oci/copy";
import { localRegistry, type Connection, type Provider } from "../providers/provider.ts";
import { redactor } from "../charts/redact.ts";
import { tagOf } from "../packages/version.ts";
import {
  fingerprintLabel,
  profileLabel,
  serviceLabel,
  stackLabel,
  versionLabel,
  workloadsLabel,
  workspaceLabel,
} from "../services/labels.ts";
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
} from "../stacks/install.ts";
import { type Holder, lockStack } from "../stacks/lock.ts";
import { ensureNamespace, refuseForeign } from "../stacks/namespace.ts";
import type { StackPlace } from "../stacks/ready.ts";
import { recordStack } from "../stacks/record.ts";
import { NamespaceView } from "../stacks/view.ts";
import type { PackageSource } from "./fetch.ts";
import { inPackage, type Prepared, renderPrepared } from "./prepare.ts";
import { reworded } from "./reword.ts";

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

/** Deploys the packages, each as soon as nothing in an earlier wave is missing. A service that fails is rolled back alone. */
export async function deploy(waves: Prepared[][], options: DeployOptions): Promise<Deployed[]> {
  const { connection, stack, project } = options;
  const all = waves.flat();
  const limit = limiter(helmsAtATime);
  const rendering = { ...options, namespace: stack.namespace, kubeconfig: connection.kubeconfig };
  await using view = new NamespaceView(connection.client, stack.namespace);
  // Of several, the last must not turn out to be faulty when the first are installed.
  const unsure = all.filter(({ renderFirst }) => renderFirst || all.length > 1);
  await Promise.all(unsure.map((one) => limit(() => renderPrepared(one, rendering))));
  await ensureNamespace(options);
  await using lock = await lockStack({
    ...options,
    client: connection.client,
    stack: stack.name,
    namespace: stack.namespace,
  });
  const services = all.map(({ found }) => found.service);
  const signal = AbortSignal.any([options.signal, lock.signal]);
  await refuseForeign({ ...options, signal }, services);
  const deployed: Deployed[] = [];
  for (const wave of waves) {
    const results = await Promise.allSettled(
      wave.map((one) => deployOne(one, { ...options, view, signal, lost: lock.signal, limit })),
    );
    deployed.push(...results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])));
    const failed = results.find(({ status }) => status === "rejected");
    await recordStack(connection.client, {
      stack: stack.name,
      namespace: stack.namespace,
      workspace: project.name,
      services: deployed.map(({ service }) => service),
      whole: false,
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

async function deployOne(one: Prepared, context: Context): Promise<Deployed> {
  const { found, chart, profile } = one;
  // Pods may repeat secrets in the lines that are shown of them.
  const secret = redactor(chart.layers).text;
  const place = inPackage(found, chart.dir);
  const hide = (text: string) => place(secret(text));
  const { stack, steps, view } = context;
  const { service, version } = found;
  const before = await history(service, context);
  const fingerprint = fingerprintOf(chart, chart.values);
  const [newest] = before;
  const same =
    newest?.status === "deployed" &&
    newest.fingerprint === fingerprint &&
    newest.version === version &&
    newest.profile === profile;
  if (same) await view.open();
  const unchanged = same && workloadsOf(view.objects(), service).length >= (newest.workloads ?? 0);
  const running = lastGood(before) ?? newest;
  const result: Deployed = {
    service,
    stack: stack.name,
    namespace: stack.namespace,
    profile,
    version,
    digest: found.digest,
    from: running?.version ?? "",
    changed: !unchanged,
  };
  const readyStep = { id: `ready ${service}`, title: `ready ${service}` };
  if (unchanged) {
    await steps.run(readyStep, async (step) => {
      step.skip("unchanged");
      // Not remembered unless it was ready before: whoever deployed it may have been killed.
      await ready(context, service, { step, remember: newest.workloads === undefined });
    });
    return result;
  }
  await importImages(one, context);
  const installId = `deploy ${service}`;
  const labels = {
    [stackLabel]: stack.name,
    [serviceLabel]: service,
    [workspaceLabel]: context.project.name,
    [fingerprintLabel]: fingerprint,
    [versionLabel]: tagOf(version),
    [profileLabel]: profile,
    // Not known to be ready yet.
    ...(newest === undefined ? {} : { [workloadsLabel]: "null" }),
  };
  try {
    const description = describe(one, running, context);
    await steps.run({ id: installId, title: `deploy ${service} ${version}` }, () =>
      reworded(hide, () =>
        context.limit(() => install(context, { service, chart, values: chart.values, labels, description })),
      ),
    );
    await steps.run({ ...readyStep, after: [installId] }, (step) =>
      reworded(hide, () => ready(context, service, { step, remember: true })),
    );
  } catch (error) {
    if (context.lost.aborted) throw context.lost.reason;
    const outcome = await undo(one, before, context, error);
    throw failureWith(error, one, outcome, context);
  }
  return result;
}

/** The revisions that Helm finished, the newest first; those that it was killed in are dropped. */
async function history(service: string, { connection, stack, signal }: Context): Promise<Release[]> {
  const all = await listRevisions(connection.client, { namespace: stack.namespace, service, signal });
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
async function importImages({ found }: Prepared, context: Context): Promise<void> {
  const { service, version } = found;
  const local = found.images.filter(({ repository }) => repository.startsWith(`${localRegistry}/`));
  if (local.length === 0) return;
  const { source, provider, steps, signal } = context;
  await steps.run({ id: `image ${service}`, title: `image ${service}` }, async (step) => {
    const present = await Promise.all(
      local.map(async ({ repository, digest }) => {
        const [from, to] = [source.repository(repository), await provider.imageRepository(repository)];
        if ((await to.resolve(digest, { signal })) !== undefined) return true;
        const { descriptor } = await from.manifest(digest, { signal });
        await copy(from, to, descriptor, { signal, tag: tagOf(version) });
        return false;
      }),
    );
    if (present.every(Boolean)) step.skip("present");
  });
}

/** One line for `helm history`: from what to what, by whom, why. */
function describe(
  { found, chart, profile, settings }: Prepared,
  running: Release | undefined,
  { holder, reason }: Context,
): string {
  const from = running === undefined ? "" : `${running.version || "a local build"} → `;
  const keys = settings.map((setting) => setting.replace(/=.*$/s, ""));
  const set = keys.length === 0 ? "" : `, ${keys.join(" and ")} set`;
  const why = reason === undefined ? "" : `: ${reason}`;
  const text = `${from}${found.version} (${found.digest}), profile ${profile}${set}, by ${holder.user}@${holder.host}${why}`;
  return redactor(chart.layers).text(text.replaceAll(/[\p{Cc}\s]+/gu, " "));
}

/** Puts back what ran before, and answers what it did in words. */
async function undo(one: Prepared, before: Release[], context: Context, cause: unknown): Promise<string> {
  const { service } = one.found;
  const { connection, stack } = context;
  const hide = redactor(one.chart.layers).text;
  const good = lastGood(before);
  if (good === undefined && before.length > 0)
    return `no earlier revision of ${service} was ready, so it is left as it is`;
  const to =
    good === undefined ? undefined : `${good.version || "the build before"} (revision ${good.revision})`;
  // What interrupted the deployment must not interrupt its undoing.
  const signal = AbortSignal.any([context.lost, AbortSignal.timeout(2 * context.timeoutMs)]);
  const own = { ...context, signal };
  const title = to === undefined ? `remove ${service}` : `roll ${service} back to ${to}`;
  try {
    // Helm refuses a faulty chart before it changes anything.
    const [newest] = await listRevisions(connection.client, { namespace: stack.namespace, service, signal });
    if (newest?.revision === before[0]?.revision && newest?.status === before[0]?.status) {
      return before.length === 0 ? `nothing of ${service} was installed` : `${service} was not changed`;
    }
    await context.steps.run({ id: `undo ${service}`, title }, (step) =>
      reworded(hide, async () => {
        const release = { ...helmOptions(own), release: service, timeoutMs: context.timeoutMs };
        if (good === undefined) return uninstall(release);
        await rollback({ ...release, revision: good.revision });
        await ready(own, service, { step, remember: false });
      }),
    );
  } catch (error) {
    throw new UserError(`${messageOf(cause)}\nand then: ${title} failed: ${messageOf(error)}`, {
      fix: `See \`kws service status ${service} --stack ${context.stack.name}\` and \`helm history ${service}\`.`,
      cause: error,
    });
  }
  return to === undefined ? `nothing of ${service} is left` : `${service} runs ${to} again`;
}

function failureWith(error: unknown, { found }: Prepared, outcome: string, context: Context): unknown {
  if (context.signal.aborted) {
    return new UserError(`interrupted: ${outcome}`, { code: "interrupted", fix: "Deploy it again." });
  }
  if (!(error instanceof UserError)) return error;
  return new UserError(`${error.message}\n${outcome}`, {
    code: error.code,
    fix: `Mend ${found.service}, package it, and deploy the new version.`,
    cause: error,
    ...(error.at === undefined ? {} : { at: error.at }),
  });
}
