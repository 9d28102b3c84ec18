/**
 * Objects of the cluster that a service waits for before it is installed, such as a custom resource of an operator that
 * another service is. Their kind may still be unknown to the cluster when the wait begins.
 */
import { UserError } from "@kws/base/errors";
import { sleep } from "@kws/base/retry";
import type { KubeClient, Resource } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { conditionOf, readinessOf } from "@kws/kube/readiness";
import { isApiError } from "@kws/kube/status";
import type { Condition } from "../project/schema.ts";

export interface ConditionOptions {
  client: KubeClient;
  /** The stack's. */
  namespace: string;
  signal: AbortSignal;
  timeoutMs: number;
  /** Milliseconds since the epoch. */
  clock: () => number;
  onProgress: (text: string) => void;
  /** Where it is written. */
  at: string;
}

const pauseMs = 250;

export async function untilCondition(wanted: Condition, options: ConditionOptions): Promise<void> {
  const deadline = options.clock() + options.timeoutMs;
  const { group, plural, name } = parseResource(wanted.resource, options.at);
  let resource: Resource | undefined;
  for (let told = ""; ;) {
    resource ??= await discover(options.client, group, plural);
    const missing =
      resource === undefined
        ? `the cluster knows no ${plural}.${group}`
        : whatIsMissing(wanted, await options.client.find(resource, name, options.namespace));
    if (missing === undefined) return;
    if (missing !== told) options.onProgress(missing);
    told = missing;
    if (options.clock() > deadline) {
      throw new UserError(
        `${conditionName(wanted)} did not come in ${options.timeoutMs / 1000} s: ${missing}`,
        {
          code: "timeout",
          at: options.at,
          fix: `See \`kubectl describe --namespace ${options.namespace} ${wanted.resource}\`, or wait longer with --timeout.`,
        },
      );
    }
    await sleep(pauseMs, options.signal);
  }
}

export function conditionName({ resource, condition }: Condition): string {
  return condition === undefined ? resource : `${resource} ${condition}`;
}

/** `plural.group/name`; without a group for those of the core. */
function parseResource(text: string, at: string): { group: string; plural: string; name: string } {
  const {
    plural,
    group = "",
    name,
  } = /^(?<plural>[a-z0-9]+)(?:\.(?<group>[a-z0-9.-]+))?\/(?<name>[a-z0-9][a-z0-9.:-]*)$/.exec(text)
    ?.groups ?? {};
  if (plural !== undefined && name !== undefined) return { group, plural, name };
  throw new UserError(`"${text}" does not name an object`, {
    code: "config",
    at,
    fix: "Write it as plural.group/name, such as kafkas.kafka.example.com/main.",
  });
}

/** In the version that the API server prefers; undefined while it does not serve it. */
async function discover(client: KubeClient, group: string, plural: string): Promise<Resource | undefined> {
  try {
    const version = group === "" ? "v1" : await preferredVersion(client, group);
    const path = group === "" ? "/api/v1" : `/apis/${group}/${version}`;
    const { resources } = (await client.request({ method: "GET", path })) as {
      resources?: { name: string; namespaced: boolean }[];
    };
    const found = resources?.find(({ name }) => name === plural);
    return found && { group, version, resource: plural, namespaced: found.namespaced };
  } catch (error) {
    if (isApiError(error, "NotFound")) return undefined;
    throw error;
  }
}

async function preferredVersion(client: KubeClient, group: string): Promise<string> {
  const found = (await client.request({ method: "GET", path: `/apis/${group}` })) as {
    preferredVersion?: { version: string };
  };
  return found.preferredVersion?.version ?? "v1";
}

/** Undefined where the object is as it is wanted. */
function whatIsMissing({ condition }: Condition, object: KubeObject | undefined): string | undefined {
  if (object === undefined) return "it is not there";
  if (condition === undefined) {
    const { status, message } = readinessOf(object);
    return status === "Current" ? undefined : message;
  }
  const found = conditionOf(object, condition);
  if (found?.status === "True") return undefined;
  if (found === undefined) return `it has no condition ${condition} yet`;
  return [`${condition} is ${found.status}`, found.reason, found.message]
    .filter((part) => part !== undefined && part !== "")
    .join(": ");
}
