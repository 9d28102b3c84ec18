/**
 * A cluster that exists already, by a context of the user's kubeconfig. kws changes nothing there unless the context is on
 * an allow-list, because a wrong current context is how the wrong cluster gets changed.
 */
import { existsSync } from "node:fs";
import { UserError } from "@kws/base/errors";
import { accessOf, findContext, kubeconfigPaths, readKubeconfig } from "@kws/kube/kubeconfig";
import type { ImageBuild, Provider, ProviderStatus } from "./provider.ts";
import { serverVersion } from "./server-version.ts";
import { noSnapshots } from "./snapshots.ts";

export interface KubeconfigOptions {
  /** `--kubeconfig`. */
  path?: string;
  context?: string;
  /** From the workspace and from the user's configuration. */
  allowContexts: string[];
  /** Where the user's configuration is, for the error that says how to allow. */
  userConfig: string;
  env: NodeJS.ProcessEnv;
  home: string;
}

export function kubeconfigProvider(options: KubeconfigOptions): Provider {
  const allowed = async () => {
    if (options.path !== undefined && !existsSync(options.path)) {
      throw new UserError(`the kubeconfig ${options.path} does not exist`, {
        code: "not-found",
        fix: "Correct --kubeconfig or KWS_KUBECONFIG.",
      });
    }
    const config = await readKubeconfig(kubeconfigPaths(options.path, options.env, options.home));
    const context = findContext(config, options.context);
    if (!options.allowContexts.includes(context.name)) {
      throw new UserError(`the context "${context.name}" is not on the allow-list`, {
        code: "permission",
        fix: `Add "${context.name}" to cluster.allowContexts in kws.yaml or in ${options.userConfig}.`,
      });
    }
    return { config, context };
  };
  const status = async (): Promise<ProviderStatus> => {
    const { config, context } = await allowed();
    const access = await accessOf(config, context.name);
    const known = {
      provider: "kubeconfig" as const,
      name: context.name,
      managed: false,
      context: context.name,
      kubeconfigPath: context.path,
    };
    const version = await serverVersion(access);
    if (version === undefined) return { ...known, apiUrl: access.server, state: "unreachable" };
    return { ...known, apiUrl: access.server, state: "running", version };
  };
  return {
    name: "kubeconfig",
    status,
    async start() {
      const found = await status();
      if (found.state === "running") return found;
      throw new UserError(`the API server at ${found.apiUrl} does not answer`, {
        code: "tool-missing",
        fix: "Start that cluster, or use the embedded one.",
      });
    },
    async stop(): Promise<boolean> {
      throw new UserError("kws does not stop a cluster that it did not start", { code: "usage" });
    },
    async reset(): Promise<boolean> {
      throw new UserError("kws resets only clusters that it made", {
        code: "usage",
        fix: "Leave out --context.",
      });
    },
    async kubeconfig() {
      const { context } = await allowed();
      return { path: context.path, context: context.name };
    },
    snapshots: () => noSnapshots("kubeconfig", "its data is where kws cannot reach it"),
    checkBuild: async (build) => refuseBuild(build),
    buildImage: async (build) => refuseBuild(build),
    async imageRepository(name) {
      throw new UserError(`the image ${name} is on this machine, and the cluster cannot pull it from here`, {
        code: "config",
        fix: "Set `registry` in kws.yaml, run `kws publish`, and deploy what is published.",
      });
    },
  };
}

function refuseBuild({ name }: Pick<ImageBuild, "name">): never {
  throw new UserError(`the image ${name} cannot be brought to a cluster that kws does not run`, {
    code: "config",
    fix: "Push it to a registry, name it in the chart's values, and remove `build` from the service's kws.yaml.",
  });
}
