/** Restarting services as `kubectl rollout restart` does: by an annotation on the template, so that nothing goes down. */
import { UserError } from "@kws/base/errors";
import type { KubeClient, Resource } from "@kws/kube/client";
import { daemonSets, deployments, statefulSets } from "@kws/kube/resources";
import { fieldManager } from "./labels.ts";
import type { Release } from "./releases.ts";
import { readNamespace, workloadsOf } from "./workloads.ts";

const restartable: Record<string, Resource> = {
  Deployment: deployments,
  StatefulSet: statefulSets,
  DaemonSet: daemonSets,
};

/** Answers the names of the workloads that begin to roll. `now` is RFC 3339. */
export async function restartService(client: KubeClient, release: Release, now: string): Promise<string[]> {
  const workloads = workloadsOf(await readNamespace(client, release.namespace), release.service);
  const rolling = workloads.filter((workload) => restartable[workload.kind] !== undefined);
  if (rolling.length === 0) {
    throw new UserError(`${release.service} has nothing that can be restarted`, {
      code: "not-found",
      fix: "A Job runs once; start the stack again to run it anew.",
    });
  }
  const patch = {
    spec: { template: { metadata: { annotations: { "kubectl.kubernetes.io/restartedAt": now } } } },
  };
  for (const { kind, name } of rolling) {
    const resource = restartable[kind];
    if (resource !== undefined)
      await client.patch(resource, name, release.namespace, "strategic", patch, { fieldManager });
  }
  return rolling.map(({ kind, name }) => `${kind}/${name}`);
}
