/** What `kws package` and `kws publish` have in common: which services, with what settings, and how the result looks. */
import { formatAge } from "@kws/base/duration";
import { UserError } from "@kws/base/errors";
import type { Steps } from "@kws/base/steps";
import { packageService } from "@kws/platform/packages/package";
import { openPackageStore, type PackageStore, type StoredPackage } from "@kws/platform/packages/store";
import { registryPattern } from "@kws/platform/project/schema";
import { loadServices } from "@kws/platform/project/services";
import { loadUserConfig } from "@kws/platform/project/workspace";
import { defaultClusterName, embeddedProvider } from "@kws/platform/providers/embedded";
import { locateTool } from "@kws/platform/tools/locate";
import type { Context } from "./context.ts";

export const packageArguments = [
  {
    name: "services",
    description: "only these; all of the workspace unless given",
    variadic: true,
    completes: "services",
  },
] as const;

export const packageOptions = {
  version: {
    type: "string",
    value: "version",
    description: "instead of the version that git gives; for one service",
  },
  registry: {
    type: "string",
    value: "host/path",
    description: "the registry that the package is for, instead of the workspace's",
  },
  pull: {
    type: "boolean",
    description:
      "fetch services that live in git again, and base images that have changed in their registries",
  },
} as const;

export interface PackagingRequest {
  names: string[];
  version?: string | undefined;
  registry?: string | undefined;
  allowDirty: boolean;
  /** Fetch again what comes from elsewhere: services from git, base images from registries. */
  pull?: boolean | undefined;
}

export type Packaged = StoredPackage & { changed: boolean };

export interface Packaging {
  steps: Steps;
  store: PackageStore;
  /** `host/path`; undefined where packages are for this machine alone. */
  registry: string | undefined;
  packages: Packaged[];
}

/** Packages the services, one after the other. */
export async function packageServices(ctx: Context, request: PackagingRequest): Promise<Packaging> {
  const { signal, locations, childEnv } = ctx;
  const project = await ctx.project();
  const names = request.names.length === 0 ? undefined : [...new Set(request.names)];
  const options = { cache: locations.cache, env: childEnv, signal };
  const services = await loadServices(
    project,
    { ...options, refresh: request.pull === true, history: true },
    names,
  );
  if (request.version !== undefined && services.length !== 1) {
    throw new UserError("--version is for one service", { code: "usage", fix: "Name the service." });
  }
  const registry = await registryOf(ctx, request.registry);
  const steps = ctx.steps();
  const store = await openPackageStore(locations.data);
  const helm = await locateTool("helm", { env: childEnv, cache: locations.cache, signal });
  const packages: Packaged[] = [];
  for (const service of services) {
    const { name } = service;
    const packaged = await steps.run({ id: `package ${name}`, title: `package ${name}` }, async (step) => {
      const result = await packageService(service, {
        workspace: project.name,
        ...(registry === undefined ? {} : { registry }),
        ...(request.version === undefined ? {} : { version: request.version }),
        allowDirty: request.allowDirty,
        ...(request.pull === undefined ? {} : { pull: request.pull }),
        // Wherever the workspace's cluster is: images are built on this machine.
        builder: embeddedProvider({ name: defaultClusterName, home: locations.data, env: ctx.childEnv }),
        store,
        helm: helm.path,
        cache: locations.cache,
        env: childEnv,
        signal,
        onProgress: (text) => step.detail(text),
      });
      if (!result.changed) step.skip("unchanged");
      return result;
    });
    packages.push(packaged);
  }
  return { steps, store, registry, packages };
}

/** Flag and variable, then the workspace, then the user's settings; undefined where packages stay on this machine. */
export async function registryOf(ctx: Context, given: string | undefined): Promise<string | undefined> {
  if (given !== undefined) {
    if (new RegExp(registryPattern).test(given)) return given;
    throw new UserError(`"${given}" is not a registry`, {
      code: "usage",
      fix: "Write it as host/path, such as registry.example.com/team.",
    });
  }
  const { workspace } = await ctx.project();
  return workspace.registry ?? (await loadUserConfig(ctx.locations.config)).registry;
}

export function packageTable(
  packages: StoredPackage[],
  now: number,
): { columns: string[]; rows: string[][] } {
  return {
    columns: ["SERVICE", "VERSION", "COMMITTED", "DIGEST", "CHART"],
    rows: packages.map(({ service, version, created, digest, chart }) => [
      service,
      version,
      formatAge(now - Date.parse(created)),
      digest.slice(0, 19),
      chart,
    ]),
  };
}
