/** What `kws deploy` and `kws manifest install` have in common: where packages come from, where they go, and how it is told. */
import { UserError } from "@kws/base/errors";
import type { Steps } from "@kws/base/steps";
import { userRegistries } from "@kws/platform/packages/publish";
import { openPackageStore } from "@kws/platform/packages/store";
import type { Project } from "@kws/platform/project/workspace";
import { localRegistry, type Provider } from "@kws/platform/providers/provider";
import type { Changes } from "@kws/platform/releases/changes";
import type { Deployed, DeployOptions } from "@kws/platform/releases/deploy";
import type { PackageSource } from "@kws/platform/releases/fetch";
import type { StackPlace } from "@kws/platform/stacks/ready";
import { locateTool } from "@kws/platform/tools/locate";
import type { Result } from "./command.ts";
import type { Context } from "./context.ts";
import { registryOf } from "./packaging.ts";
import { defaultTimeoutMs, placed } from "./starting.ts";

export const deployOptions = {
  profile: {
    type: "string",
    short: "p",
    value: "name",
    description: "the profile",
    completes: "profiles",
  },
  registry: {
    type: "string",
    value: "host/path",
    description: "the registry that has the packages, instead of the workspace's",
  },
  reason: { type: "string", value: "text", description: "why, for the release's history" },
  timeout: {
    type: "duration",
    value: "duration",
    description: "for one service to become ready; 5m unless given",
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
    const registries = userRegistries(ctx.childEnv);
    return { prefix: registry, repository: (name) => registries.repository(name) };
  }
  const store = await openPackageStore(ctx.locations.data);
  return {
    prefix: `${localRegistry}/${project.name}`,
    repository: (name) => store.repository(name),
  };
}

/** The workspace's stack of that namespace, or of that profile; a namespace that none has is a stack of its own. */
export function stackFor(project: Project, profile: string, namespace: string | undefined): StackPlace {
  const wanted = namespace ?? profile;
  const fitting = project.stacks.filter((stack) =>
    namespace === undefined ? stack.profile === profile : stack.namespace === namespace,
  );
  const [found, ...more] = fitting;
  if (more.length > 0) {
    throw new UserError(
      `several stacks have the ${namespace === undefined ? "profile" : "namespace"} ${wanted}`,
      {
        code: "usage",
        fix: `Name a namespace with -n: ${fitting.map((stack) => stack.namespace).join(", ")}.`,
      },
    );
  }
  return placed({ name: wanted, services: [], ...found, profile, namespace: found?.namespace ?? wanted });
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
  const { service, from, version, profile, stack } = changes;
  const what = `${service} ${from === "" ? "" : `${from} → `}${version} with the profile ${profile} in the stack ${stack}`;
  return {
    data: changes,
    ...(rows.length === 0 ? {} : { table: { columns: ["KIND", "NAME", "CHANGE", "FIELDS"], rows } }),
    text: `${what}: ${rows.length === 0 ? "nothing would change" : "nothing was changed"}.`,
  };
}
