/** What a container's environment is made from: its pod with the addresses, ConfigMaps and Secrets, the Services around it. */
import type { KubeObject } from "@kws/kube/object";
import { services } from "@kws/kube/resources";
import type { KubeletContext } from "./context.ts";
import type { EnvironmentSource } from "./environment.ts";
import type { Pod } from "./pod.ts";

/** The pod as its own containers see it: with the addresses that its status may not show yet. */
export function addressed(pod: Pod, podIP: string | undefined, hostIP: string): Pod {
  const own = podIP === undefined ? {} : { podIP, podIPs: [{ ip: podIP }] };
  return { ...pod, status: { ...pod.status, hostIP, hostIPs: [{ ip: hostIP }], ...own } };
}

export async function environmentSource(context: KubeletContext, pod: Pod): Promise<EnvironmentSource> {
  const { references, machine } = context;
  const { namespace = "" } = pod.metadata;
  return {
    pod,
    machine,
    configMap: (name) => references.get("ConfigMap", namespace, name),
    secret: (name) => references.get("Secret", namespace, name),
    services: await visibleServices(context, pod),
  };
}

async function visibleServices({ client, apiServer }: KubeletContext, pod: Pod): Promise<KubeObject[]> {
  const kubernetes: KubeObject = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kubernetes", namespace: "default" },
    spec: { clusterIP: apiServer.host, ports: [{ name: "https", port: apiServer.port, protocol: "TCP" }] },
  };
  if (pod.spec.enableServiceLinks === false) return [kubernetes];
  const own = await client.list(services, pod.metadata.namespace);
  return [kubernetes, ...own.items];
}
