/** The cluster of a connection, as forwards and intercepts reach it. */
import type { KubeClient } from "@kws/kube/client";
import { accessOf, type ClusterAccess, readKubeconfig } from "@kws/kube/kubeconfig";
import type { Connection } from "../providers/provider.ts";

/** A way to a cluster's API server, and through it to the ports of its pods. */
export interface Cluster {
  client: KubeClient;
  access: ClusterAccess;
}

export async function clusterOf({ client, kubeconfig }: Connection): Promise<Cluster> {
  return { client, access: await accessOf(await readKubeconfig([kubeconfig.path]), kubeconfig.context) };
}
