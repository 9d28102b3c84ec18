/** What `kws deploy` and `kws manifest install` have in common: where packages come from, where they go, and how it is told. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { Steps } from "@kws/base/steps";
import { ownedDir, type TempDir } from "@kws/base/tempdir";
import { openPackageStore } from "@kws/platform/packages/store";
import { suggest } from "@kws/platform/project/nearest";
import { defaultProfile, type Project, type ProjectStack } from "@kws/platform/project/workspace";
import { localRegistry, type Provider } from "@kws/platform/providers/provider";
import type { Changes, ChangesOptions } from "@kws/platform/releases/changes";
import type { Deployed, DeployOptions } from "@kws/platform/releases/deploy";
import type { PackageSource } from "@kws/platform/packages/fetch";
import type { StackPlace } from "@kws/platform/stacks/ready";
import { locateTool } from "@kws/platform/tools/locate";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import { registryOf } from "./packaging.ts";
import { placed } from "./starting.ts";
import { defaultTimeoutMs } from "./waiting.ts";

export const registryOption = {
  type: "string",
  value: "host/path",
  description: "the registry that has the packages, instead of the workspace's",
} as const;

/** `qa1`, or `orders=qa2` for one service. */
export const profilesOption = {
  type: "list",
  short: "p",
  value: "[service=]name",
  description: "the profile of all services, or of one; may be repeated",
  completes: "profiles",
} as const;

export const profileOption = {
  type: "string",
  short: "p",
  value: "name",
  description: "the profile",
  completes: "profiles",
} as const;

export const deployOptions = {
  registry: registryOption,
  reason: { type: "string", value: "text", description: "why, for the release's history" },
  timeout: {
    type: "duration",
    value: "duration",
    description: "for one package to arrive, and one service to become ready; 5m unless given",
  },
} as const;

/** The registry's packages where one is set, else those of this machine. */
export async function packageSource(
  ctx: Context,
  project: Project,
  given: string | undefined,
): Promise<PackageSource> {
  const registry = await registryOf(ctx, given);
  if (registry !== undefined) {
    // Loads Node's HTTP client, which takes a moment.
    const { userRegistries } = await import("@kws/platform/packages/publish");
    const registries = userRegistries(ctx.childEnv);
    return { prefix: registry, repository: (name) => registries.repository(name) };
  }
  const store = await openPackageStore(ctx.locations.data);
  return {
    prefix: `${localRegistry}/${project.name}`,
    repository: (name) => store.repository(name),
  };
}

/** The workspace's stack of that namespace, or else of that profile; a namespace that none has is a stack of its own. */
export function stackFor(project: Project, profile: string, namespace: string | undefined): StackPlace {
  const fitting = project.stacks.filter((stack) => stack.profile === profile);
  if (namespace === undefined && fitting.length > 1) {
    throw new UserError(`several stacks have the profile ${profile}`, {
      code: "usage",
      fix: `Name a namespace with -n: ${fitting.map((stack) => stack.namespace).join(", ")}.`,
    });
  }
  const found = namespace === undefined ? fitting[0] : undefined;
  return placed(found ?? stackIn(project, namespace ?? profile), undefined, profile);
}

/** The workspace's stack of that namespace, or else of that name. */
export function stackNamedFor(project: Project, name: string, namespace: string | undefined): StackPlace {
  const found = namespace === undefined ? project.stacks.find((stack) => stack.name === name) : undefined;
  return found ?? stackIn(project, namespace ?? name);
}

function stackIn(project: Project, namespace: string): ProjectStack {
  const own = { name: namespace, namespace, profile: defaultProfile, services: [] };
  return project.stacks.find((stack) => stack.namespace === namespace) ?? placed(own, namespace);
}

/** For unpacked packages, whose secrets stay encrypted there; a killed command's is removed by the next. */
export function workFolder({ locations, holder }: Context): Promise<TempDir> {
  return ownedDir(join(locations.data, "run"), holder);
}

export interface DeployRequest {
  project: Project;
  stack: StackPlace;
  source: PackageSource;
  provider: Provider;
  steps: Steps;
  /** Start the cluster where it does not run. */
  start: boolean;
  reason: string | undefined;
  timeout: number | undefined;
}

/** What deploying takes, with a cluster that runs. */
export async function deploySettings(ctx: Context, request: DeployRequest): Promise<DeployOptions> {
  const { provider, steps, start } = request;
  const { signal, childEnv, locations } = ctx;
  const helm = await locateTool("helm", { env: childEnv, cache: locations.cache, signal });
  if (start && (await provider.status()).state !== "running") {
    await steps.run({ id: "cluster", title: `cluster (${provider.name})` }, (step) =>
      provider.start({ signal, onProgress: (text) => step.detail(text) }),
    );
  }
  return {
    ...request,
    connection: await ctx.connect(provider),
    helm: helm.path,
    env: childEnv,
    log: ctx.log,
    signal,
    timeoutMs: request.timeout ?? defaultTimeoutMs,
    clock: ctx.clock,
    holder: ctx.holder,
  };
}

/** What telling the changes takes; a cluster that does not run is left alone. */
export async function changesSettings(
  ctx: Context,
  { stack, provider }: Pick<DeployRequest, "stack" | "provider">,
): Promise<ChangesOptions> {
  const { signal, childEnv: env, locations } = ctx;
  const helm = await locateTool("helm", { env, cache: locations.cache, signal });
  const runs = (await provider.status()).state === "running";
  const connection = runs ? await ctx.connect(provider) : undefined;
  return { stack, connection, helm: helm.path, env, signal };
}

/** What `profilesOption` says for a service; undefined where it says nothing. */
export function chosenProfile(
  given: string[],
  service: string,
): { profile: string; chosen: boolean } | undefined {
  const own = given.findLast((one) => one.startsWith(`${service}=`));
  if (own !== undefined) return { profile: own.slice(service.length + 1), chosen: true };
  const all = given.findLast((one) => !one.includes("="));
  return all === undefined ? undefined : { profile: all, chosen: false };
}

/** Throws `usage` for a profile of a service that is not among them. */
export function checkProfiles(given: string[], services: string[]): void {
  for (const one of given) {
    const [service = ""] = one.split("=");
    if (!one.includes("=") || services.includes(service)) continue;
    throw new UserError(`--profile ${one}: there is no "${service}" among the services`, {
      code: "usage",
      fix: suggest(service, services, "Write it as service=profile."),
    });
  }
}

export function deployedTable(deployed: Deployed[]): Required<Pick<Result, "table">>["table"] {
  return {
    columns: ["SERVICE", "STACK", "FROM", "VERSION", "PROFILE", "RESULT"],
    rows: deployed.map(({ service, stack, from, version, profile, changed }) => [
      service,
      stack,
      from,
      version,
      profile,
      changed ? "deployed" : "unchanged",
    ]),
  };
}

export function changesResult(changes: Changes): Result {
  const rows = changes.objects.map(({ kind, name, change, fields }) => {
    const more = fields.length > 3 ? `, and ${fields.length - 3} more` : "";
    return [kind, name, change, fields.slice(0, 3).join(", ") + more];
  });
  const { service, from, version, profile, stack, compared } = changes;
  const what = `${service} ${from === "" ? "" : `${from} → `}${version} with the profile ${profile} in the stack ${stack}`;
  return {
    data: changes,
    ...(rows.length === 0 ? {} : { table: { columns: ["KIND", "NAME", "CHANGE", "FIELDS"], rows } }),
    text: compared
      ? `${what}: ${rows.length === 0 ? "nothing would change" : "nothing was changed"}.`
      : `${what}: the cluster does not run, so this is all of it, compared with nothing.`,
  };
}
