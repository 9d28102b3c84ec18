/** Subresources of pods, namespaces and ServiceAccounts that are answered at once, without a stream. */
import type { KubeObject } from "@kws/kube/object";
import { selects, type LabelSelector } from "@kws/kube/selector";
import { apiError, type Status } from "@kws/kube/status";
import type { LogOptions } from "../kubelet/streams.ts";
import { clone, type Stored } from "../storage/stored.ts";
import { isObject, readObject } from "./bodies.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { deleteObject } from "./deletion.ts";
import { badRequest, conflict, invalid, notFound } from "./failures.ts";
import { storedAt, type Target } from "./reads.ts";
import { storageKey, tableOf } from "./registry.ts";
import { jsonResponse, type ApiResponse } from "./request.ts";
import { apiAudiences, type TokenSpec } from "./tokens.ts";
import { copyOf, replaceObject } from "./writing.ts";
import { modeOf } from "./writes.ts";

const success: Status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };

async function bodyOf(context: ServerContext, { request }: Target): Promise<KubeObject> {
  const { object } = await readObject(request, context.registry.types);
  if (!isObject(object)) throw badRequest("the request's body is not an object");
  return object;
}

/** `pods/binding`: the scheduler's decision. A pod is bound once. */
export async function bind(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition } = target;
  const binding = await bodyOf(context, target);
  const node: unknown = binding.target?.name;
  const name = target.path.name ?? binding.metadata.name;
  if (typeof node !== "string" || node === "") {
    throw invalid({ group: "", kind: "Binding", resource: "bindings" }, name, [
      { reason: "FieldValueRequired", field: "target.name", message: "Required value" },
    ]);
  }
  const live = latestAt(context, target);
  const pod = copyOf(definition, live);
  if (pod.metadata.deletionTimestamp !== undefined) {
    throw conflict(definition, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  }
  if (pod.spec.nodeName)
    throw conflict(definition, name, `pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  if (binding.metadata?.uid && binding.metadata.uid !== pod.metadata.uid) {
    throw conflict(
      definition,
      name,
      `Precondition failed: UID in precondition: ${binding.metadata.uid}, UID in object meta: ${pod.metadata.uid}`,
    );
  }
  pod.spec.nodeName = node;
  pod.metadata.annotations = { ...pod.metadata.annotations, ...binding.metadata?.annotations };
  if (Object.keys(pod.metadata.annotations).length === 0) delete pod.metadata.annotations;
  const now = timestamp(context.now());
  const conditions = ((pod.status?.conditions ?? []) as { type: string }[]).filter(
    ({ type }) => type !== "PodScheduled",
  );
  const scheduled = { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: now };
  pod.status = { ...pod.status, conditions: [...conditions, scheduled] };
  const mode = modeOf(target.request);
  // Neither the spec's nor the status' own write: a binding sets both and nothing else.
  if (!mode.dryRun) {
    await context.store
      .update(tableOf(definition), live.key, pod, live.revision)
      .catch(() => Promise.reject(conflict(definition, name)));
  }
  return jsonResponse(201, success);
}

function latestAt(context: ServerContext, { definition, path }: Target): Stored {
  const name = path.name ?? "";
  const live = context.store.latest(tableOf(definition), storageKey(definition, path.namespace, name));
  if (live === undefined) throw notFound(definition, name);
  return live;
}

/** `pods/eviction`: a deletion that PodDisruptionBudgets may refuse. */
export async function evict(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, request } = target;
  const eviction = await bodyOf(context, target);
  const live = latestAt(context, target);
  const pod = live.object;
  const { dryRun } = modeOf(request);
  const phase = pod.status?.phase as string | undefined;
  const counts =
    pod.metadata.deletionTimestamp === undefined &&
    phase !== "Succeeded" &&
    phase !== "Failed" &&
    phase !== "Pending";
  if (counts) await spendBudget(context, pod, dryRun);
  const options = (eviction.deleteOptions ?? {}) as Omit<Parameters<typeof deleteObject>[3], "dryRun">;
  await deleteObject(context, definition, live.key, { ...options, dryRun }, request.user);
  return jsonResponse(201, success);
}

const budgets = { group: "policy", version: "v1", resource: "poddisruptionbudgets" };

async function spendBudget(context: ServerContext, pod: KubeObject, dryRun: boolean): Promise<void> {
  const definition = context.registry.find(budgets);
  if (definition === undefined) return;
  const { name, namespace = "" } = pod.metadata;
  const covering = context.store
    .list(tableOf(budgets), `${namespace}/`)
    .filter(({ object }) => selects(object.spec?.selector as LabelSelector | undefined, pod.metadata.labels));
  if (covering.length > 1) {
    throw apiError(
      "InternalError",
      "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    );
  }
  const [budget] = covering;
  if (budget === undefined) return;
  const latest = context.store.latest(tableOf(budgets), budget.key) ?? budget;
  const object = clone(latest);
  const allowed = (object.status?.disruptionsAllowed ?? 0) as number;
  const observed = ((object.status?.observedGeneration ?? 0) as number) >= (object.metadata.generation ?? 0);
  if (!observed || allowed <= 0) {
    const pdb = object.metadata.name;
    const message = observed
      ? `The disruption budget ${pdb} needs ${object.status?.desiredHealthy ?? 0} healthy pods and has ${object.status?.currentHealthy ?? 0} currently`
      : `The disruption budget ${pdb} is still being processed by the server.`;
    throw apiError("TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [{ reason: "DisruptionBudget", message }],
      ...(observed ? {} : { retryAfterSeconds: 10 }),
    });
  }
  if (dryRun) return;
  const disruptedPods = { ...object.status.disruptedPods, [name]: timestamp(context.now()) };
  object.status = { ...object.status, disruptionsAllowed: allowed - 1, disruptedPods };
  await context.store
    .update(tableOf(budgets), latest.key, object, latest.revision)
    .catch(() => Promise.reject(conflict(definition, object.metadata.name)));
}

/** `serviceaccounts/token`. */
export async function requestToken(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition } = target;
  const request = await bodyOf(context, target);
  const account = storedAt(context, target).object;
  const {
    audiences,
    expirationSeconds = 3600,
    boundObjectRef,
  } = (request.spec ?? {}) as {
    audiences?: string[];
    expirationSeconds?: number;
    boundObjectRef?: { kind: string; name: string; uid?: string };
  };
  if (expirationSeconds < 600 || expirationSeconds > 2 ** 32) {
    throw invalid(
      { group: "authentication.k8s.io", kind: "TokenRequest", resource: definition.resource },
      "",
      [
        {
          field: "spec.expirationSeconds",
          message: `Invalid value: ${expirationSeconds}: may not specify a duration less than 10 minutes`,
        },
      ],
    );
  }
  const spec: TokenSpec = {
    audiences: audiences?.length ? audiences : apiAudiences,
    expirationSeconds,
    boundObject: boundObjectRef === undefined ? undefined : boundTo(context, account, boundObjectRef),
  };
  const { token, expires } = context.tokens.issue(account, spec);
  return jsonResponse(201, {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: {
      name: account.metadata.name,
      namespace: account.metadata.namespace,
      creationTimestamp: timestamp(context.now()),
    },
    spec: { audiences: spec.audiences, expirationSeconds, boundObjectRef: boundObjectRef ?? null },
    status: { token, expirationTimestamp: timestamp(expires) },
  });
}

function boundTo(
  context: ServerContext,
  account: KubeObject,
  { kind, name, uid }: { kind: string; name: string; uid?: string },
): NonNullable<TokenSpec["boundObject"]> {
  const tables: Record<string, string> = { Pod: "pods", Secret: "secrets" };
  const table = Object.hasOwn(tables, kind) ? tables[kind] : undefined;
  if (table === undefined) throw badRequest(`cannot bind token to object of type ${kind}`);
  const object = context.store.get(table, `${account.metadata.namespace}/${name}`)?.object;
  const named = { group: "", kind, resource: table };
  if (object === undefined) throw notFound(named, name);
  if (uid && uid !== object.metadata.uid) {
    throw conflict(
      named,
      name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  return { kind, name, uid: object.metadata.uid ?? "" };
}

/** `namespaces/finalize`: the namespace controller's last word. */
export async function finalizeNamespace(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition } = target;
  const wanted = await bodyOf(context, target);
  const live = latestAt(context, target);
  const object = copyOf(definition, live);
  const { resourceVersion } = wanted.metadata ?? {};
  if (resourceVersion && resourceVersion !== object.metadata.resourceVersion) {
    throw conflict(definition, object.metadata.name);
  }
  object.spec = { ...object.spec, finalizers: wanted.spec?.finalizers ?? [] };
  if ((object.spec.finalizers as string[]).length === 0) delete object.spec.finalizers;
  const stored = await replaceObject(context, definition, live, object, modeOf(target.request, "finalize"));
  return jsonResponse(200, stored.object);
}

export async function logs(context: ServerContext, target: Target): Promise<ApiResponse> {
  const pod = storedAt(context, target).object;
  const { query, signal } = target.request;
  const streams = nodeStreams(context);
  const body = await streams.logs(pod, { ...logOptions(query), signal });
  return { status: 200, headers: { "content-type": "text/plain" }, body };
}

export function nodeStreams(context: ServerContext): NonNullable<ReturnType<ServerContext["streams"]>> {
  const streams = context.streams();
  if (streams === undefined) throw apiError("ServiceUnavailable", "no node is there to ask yet");
  return streams;
}

export function logOptions(query: URLSearchParams): LogOptions {
  const number = (name: string): number | undefined => {
    const text = query.get(name);
    if (text === null || text === "") return undefined;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 0) {
      throw invalid({ group: "", kind: "PodLogOptions", resource: "pods" }, "", [
        { field: name, message: `Invalid value: "${text}": must be greater than or equal to 0` },
      ]);
    }
    return value;
  };
  const flag = (name: string): boolean => query.get(name) === "true" || query.get(name) === "1";
  return {
    container: query.get("container") || undefined,
    follow: flag("follow"),
    previous: flag("previous"),
    sinceSeconds: number("sinceSeconds"),
    sinceTime: query.get("sinceTime") || undefined,
    timestamps: flag("timestamps"),
    tailLines: number("tailLines"),
    limitBytes: number("limitBytes"),
  };
}
