/** The namespace of a stack before its services come: made, or found fit to be used. */
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { Steps } from "@kws/base/steps";
import type { KubeObject } from "@kws/kube/object";
import { namespaces, secrets } from "@kws/kube/resources";
import type { Connection } from "../providers/provider.ts";
import { fieldManager, managedByLabel, stackLabel, workspaceLabel } from "../services/labels.ts";
import { type Release, releaseOf } from "../services/releases.ts";
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

/** A release of Helm that is about to be made. */
export interface Claim {
  release: string;
  services: string[];
  /** It is the one release of a manifest. */
  together: boolean;
}

/** The release of a service alone. */
export function ownRelease(service: string): Claim {
  return { release: service, services: [service], together: false };
}

/**
 * A release of the same name that kws did not make is somebody's; and a service that is in the one release of a manifest gets
 * no second one of its own, nor the other way round: each object has one owner.
 */
export async function refuseForeign(
  { connection, stack, signal }: Pick<NamespaceOptions, "connection" | "stack" | "signal">,
  claims: Claim[],
): Promise<void> {
  const list = await connection.client.list(secrets, stack.namespace, {
    labelSelector: "owner=helm,status notin (superseded,uninstalled)",
    signal,
  });
  for (const item of list.items) {
    const { metadata } = item;
    const name = metadata.labels?.["name"];
    const owner = metadata.labels?.[stackLabel];
    if (owner !== undefined) for (const claim of claims) refuseOtherForm(releaseOf(item), claim);
    if (owner === stack.name) continue;
    const deployed = metadata.labels?.["status"] === "deployed";
    if (!deployed || !claims.some(({ release }) => release === name)) continue;
    const whose = owner === undefined ? "was not made by kws" : `belongs to the stack ${owner}`;
    throw new UserError(`the release ${name} in the namespace ${stack.namespace} ${whose}`, {
      code: "conflict",
      fix: "Give the stack a namespace of its own in kws.yaml, or uninstall that release with helm.",
    });
  }
}

function refuseOtherForm(there: Release, { release, services, together }: Claim): void {
  const isTogether = there.parts.length > 0;
  if (there.release === release && isTogether === together) return;
  const held = isTogether ? there.parts.map((part) => part.service) : [there.service];
  const both = services.find((service) => held.includes(service));
  if (both === undefined && there.release !== release) return;
  const { namespace } = there;
  throw isTogether
    ? new UserError(
        `${both ?? release} is in the release ${there.release} of the namespace ${namespace}, which holds the services of a manifest`,
        {
          code: "conflict",
          fix: `Build the next manifest with \`kws manifest build\` and install that; or install the manifest with --per-service, in another namespace or after \`kws stack remove ${there.stack}\`.`,
        },
      )
    : new UserError(`${there.service} has a release of its own in the namespace ${namespace}`, {
        code: "conflict",
        fix: "Use another namespace.",
      });
}
