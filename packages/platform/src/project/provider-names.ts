/** What can give a cluster, by the names that users type. */

/** The tools with clusters of their own. */
export const toolNames = ["docker-desktop", "k3d", "k3s", "kind", "microk8s", "minikube"] as const;
export type ToolName = (typeof toolNames)[number];

/** What can run the containers of an embedded cluster. */
export const runtimeNames = ["sandbox", "docker"] as const;
export type RuntimeName = (typeof runtimeNames)[number];

export const providerNames = ["embedded", ...toolNames, "kubeconfig"] as const;
export type ProviderName = (typeof providerNames)[number];
