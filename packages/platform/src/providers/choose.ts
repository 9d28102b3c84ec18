/** Which provider a command works on: flags and variables, then the workspace, then the user's settings, then embedded. */
import { join } from "node:path";
import { UserError } from "@kws/base/errors";
import type { ProviderName } from "../project/provider-names.ts";
import type { ClusterSettings } from "../project/schema.ts";
import type { Builder, Provider } from "./provider.ts";

export interface ProviderChoice {
  /** `--provider`. */
  provider?: ProviderName;
  /** `--context` and `--kubeconfig`: either one means an existing cluster. */
  context?: string;
  kubeconfig?: string;
  /** The cluster's name, from a flag. */
  cluster?: string;
  workspace: ClusterSettings;
  user: ClusterSettings;
  data: string;
  userConfig: string;
  env: NodeJS.ProcessEnv;
  home: string;
}

/** Of clusters that k3d, kind and minikube make for kws: their own default names are those of others. */
const defaultToolClusterName = "kws";

export async function chooseProvider(choice: ProviderChoice): Promise<Provider> {
  const { workspace, user, env, home } = choice;
  const given = choice.context !== undefined || choice.kubeconfig !== undefined;
  if (given && choice.provider !== undefined && choice.provider !== "kubeconfig") {
    throw new UserError(`a context is asked for, and the provider ${choice.provider}, which has its own`, {
      code: "usage",
      fix: "Leave out --provider, or --context and --kubeconfig; KWS_PROVIDER, KWS_CONTEXT and KWS_KUBECONFIG count too.",
    });
  }
  const settings = kindOf(workspace) ?? kindOf(user) ?? "embedded";
  // A cluster's name means nothing among the contexts of a kubeconfig.
  const named = choice.cluster !== undefined && settings === "kubeconfig" ? "embedded" : settings;
  const wanted = choice.provider ?? (given ? "kubeconfig" : named);
  if (wanted === "kubeconfig") {
    const { kubeconfigProvider } = await import("./kubeconfig.ts");
    const context = choice.context ?? (given ? undefined : (workspace.context ?? user.context));
    return kubeconfigProvider({
      ...(choice.kubeconfig === undefined ? {} : { path: choice.kubeconfig }),
      ...(context === undefined ? {} : { context }),
      allowContexts: [...(workspace.allowContexts ?? []), ...(user.allowContexts ?? [])],
      userConfig: choice.userConfig,
      env,
      home,
    });
  }
  const ingressPort = workspace.ingressPort ?? user.ingressPort;
  const port = ingressPort === undefined ? {} : { ingressPort };
  const name = choice.cluster ?? workspace.name ?? user.name;
  if (wanted === "embedded") {
    const { defaultClusterName, embeddedProvider } = await import("./embedded.ts");
    const runtime = workspace.runtime ?? user.runtime;
    const embedded = embeddedProvider({
      ...(runtime === undefined ? {} : { runtime }),
      ...port,
      name: name ?? defaultClusterName,
      home: choice.data,
      env,
    });
    // What it builds with itself needs Linux.
    return process.platform === "linux" ? embedded : { ...embedded, ...(await chooseBuilder(choice)) };
  }
  const [{ openTool }, { toolFolder, toolProvider }] = await Promise.all([
    import("./tools.ts"),
    import("./tool-provider.ts"),
  ]);
  const folder = (one: string) => toolFolder(choice.data, wanted, one);
  const tool = await openTool(wanted, { env, home, kubeconfig: (one) => join(folder(one), "kubeconfig") });
  const cluster = tool.only ?? name ?? defaultToolClusterName;
  return toolProvider(tool, {
    ...port,
    name: cluster,
    named: name !== undefined,
    folder: folder(cluster),
    builder: await chooseBuilder(choice),
    env,
  });
}

async function chooseBuilder({ workspace, user, data, env }: ProviderChoice): Promise<Builder> {
  const { embeddedBuilder } = await import("./embedded.ts");
  const embedded = embeddedBuilder({ home: data, env });
  const engine = workspace.builder ?? user.builder ?? (process.platform === "linux" ? "embedded" : "docker");
  if (engine === "embedded") return embedded;
  const { engineBuilder } = await import("./engine-builder.ts");
  return engineBuilder({
    engine,
    home: data,
    env,
    imageRepository: (name) => embedded.imageRepository(name),
  });
}

function kindOf(settings: ClusterSettings): ProviderName | undefined {
  return settings.provider ?? (settings.context === undefined ? undefined : "kubeconfig");
}
