/** Which provider a command works on: flags and variables, then the workspace, then the user's settings, then embedded. */
import type { ClusterSettings } from "../project/schema.ts";
import type { Provider } from "./provider.ts";

export interface ProviderChoice {
  /** `--context` and `--kubeconfig`: either one means an existing cluster. */
  context?: string;
  kubeconfig?: string;
  /** The embedded cluster's name, from a flag. */
  cluster?: string;
  workspace: ClusterSettings;
  user: ClusterSettings;
  data: string;
  userConfig: string;
  env: NodeJS.ProcessEnv;
  home: string;
}

export async function chooseProvider(choice: ProviderChoice): Promise<Provider> {
  const { workspace, user } = choice;
  const given = choice.context !== undefined || choice.kubeconfig !== undefined;
  const wanted = given
    ? "kubeconfig"
    : choice.cluster !== undefined
      ? "embedded"
      : (kindOf(workspace) ?? kindOf(user));
  if (wanted === "kubeconfig") {
    const { kubeconfigProvider } = await import("./kubeconfig.ts");
    const context = choice.context ?? (given ? undefined : (workspace.context ?? user.context));
    return kubeconfigProvider({
      ...(choice.kubeconfig === undefined ? {} : { path: choice.kubeconfig }),
      ...(context === undefined ? {} : { context }),
      allowContexts: [...(workspace.allowContexts ?? []), ...(user.allowContexts ?? [])],
      userConfig: choice.userConfig,
      env: choice.env,
      home: choice.home,
    });
  }
  const { defaultClusterName, embeddedProvider } = await import("./embedded.ts");
  const ingressPort = workspace.ingressPort ?? user.ingressPort;
  return embeddedProvider({
    ...(ingressPort === undefined ? {} : { ingressPort }),
    name: choice.cluster ?? workspace.name ?? user.name ?? defaultClusterName,
    home: choice.data,
    env: choice.env,
  });
}

function kindOf(settings: ClusterSettings): "embedded" | "kubeconfig" | undefined {
  return settings.provider ?? (settings.context === undefined ? undefined : "kubeconfig");
}
