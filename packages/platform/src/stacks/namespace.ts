/** The namespace of a stack before its services come: made, or found fit to be used. */
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { Steps } from "@kws/base/steps";
import type { KubeObject } from "@kws/kube/object";
import { namespaces, secrets } from "@kws/kube/resources";
import type { Connection } from "../providers/provider.ts";
import { fieldManager, managedByLabel, stackLabel, workspaceLabel } from "../services/labels.ts";
import type { StackPlace } from "./ready.ts";

export interface NamespaceOptions {
  /** The workspace. */
  project: { name: string };
  stack: StackPlace;
  connection: Connection;
  steps: Steps;
  signal: AbortSignal;
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

/** One that is just being removed is waited for: it is gone, then. */
async function settledNamespace(options: NamespaceOptions): Promise<KubeObject | undefined> {
  const { stack, connection, signal, clock } = options;
  const { namespace } = stack;
  const find = () => connection.client.find(namespaces, namespace);
  const found = await find();
  if (found?.metadata.deletionTimestamp === undefined) return found;
  const deadline = clock() + options.timeoutMs;
  return options.steps.run(
    { id: "namespace", title: `wait until the old namespace ${namespace} is gone` },
    async () => {
      for (;;) {
        const now = await find();
        if (now?.metadata.deletionTimestamp === undefined) return now;
        if (clock() > deadline) {
          throw new UserError(`the namespace ${namespace} is still being removed`, {
            code: "timeout",
            fix: "See what holds it with `kubectl describe namespace`.",
          });
        }
        await sleep(200, signal);
      }
    },
  );
}

/** Made and labelled where it is missing; one that is there is used as it is, unless another workspace's stack has it. */
export async function ensureNamespace(options: NamespaceOptions): Promise<void> {
  const { stack, connection, project, signal } = options;
  const found = await settledNamespace(options);
  const labels = { [managedByLabel]: fieldManager, [stackLabel]: stack.name, [workspaceLabel]: project.name };
  if (found === undefined) {
    const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: stack.namespace, labels } };
    await connection.client.create(namespaces, object, { fieldManager, signal });
    return;
  }
  const owner = found.metadata.labels?.[workspaceLabel];
  if (owner !== undefined && owner !== project.name) {
    throw new UserError(`the namespace ${stack.namespace} belongs to the workspace ${owner}`, {
      code: "conflict",
      fix: "Give the stack a namespace of its own in kws.yaml.",
    });
  }
}

/** A release of the same name that kws did not make is somebody's. */
export async function refuseForeign(
  { connection, stack, signal }: Pick<NamespaceOptions, "connection" | "stack" | "signal">,
  services: string[],
): Promise<void> {
  const list = await connection.client.list(secrets, stack.namespace, {
    labelSelector: "owner=helm,status=deployed",
    signal,
  });
  for (const { metadata } of list.items) {
    const name = metadata.labels?.["name"];
    const owner = metadata.labels?.[stackLabel];
    if (owner === stack.name || name === undefined || !services.includes(name)) continue;
    const whose = owner === undefined ? "was not made by kws" : `belongs to the stack ${owner}`;
    throw new UserError(`the release ${name} in the namespace ${stack.namespace} ${whose}`, {
      code: "conflict",
      fix: "Give the stack a namespace of its own in kws.yaml, or uninstall that release with helm.",
    });
  }
}
