/** The verbs `delete` and `deletecollection`: grace periods, finalizers, propagation and preconditions. */
import type { KubeObject } from "@kws/kube/object";
import { isApiError, type Status } from "@kws/kube/status";
import { clone, type Stored } from "../storage/stored.ts";
import { askOthers } from "./admission/others.ts";
import { isObject, readObject } from "./bodies.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { ensureForms } from "./conversion.ts";
import { definitionsTable, holdDefinition } from "./definitions.ts";
import { badRequest, conflict, invalid, notFound } from "./failures.ts";
import { selected, type Target } from "./reads.ts";
import { storageKey, tableOf } from "./registry.ts";
import { renderingOf } from "./rendering.ts";
import { jsonResponse, textResponse, type ApiRequest, type ApiResponse, type User } from "./request.ts";
import { admit } from "./resources/index.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { admissionOf, translated } from "./writing.ts";

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: string;
  orphanDependents?: boolean;
  preconditions?: { uid?: string; resourceVersion?: string };
  dryRun: boolean;
}

/** Kinds whose removal is answered with the object; others answer a `Status`, as upstream. */
const answeredWithObject = new Set([
  "pods",
  "services",
  "serviceaccounts",
  "persistentvolumes",
  "persistentvolumeclaims",
  "podtemplates",
  "resourcequotas",
]);

export async function remove(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const options = await deleteOptions(context, request);
  const key = storageKey(definition, path.namespace, path.name ?? "");
  const { stored, removed } = await deleteObject(context, definition, key, options, request.user);
  const { name, uid } = stored.object.metadata;
  await ensureForms(context, definition, [stored]);
  if (!removed || (definition.group === "" && answeredWithObject.has(definition.resource))) {
    return textResponse(200, renderingOf(request, definition, context.now).object(stored));
  }
  const details = {
    name,
    ...(definition.group === "" ? {} : { group: definition.group }),
    kind: definition.resource,
    uid,
  };
  const status: Status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
  return jsonResponse(200, status);
}

export async function removeCollection(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, request } = target;
  const options = await deleteOptions(context, request);
  const rendering = renderingOf(request, definition, context.now);
  const found = selected(context, target);
  const results = await Promise.all(
    found.map(async ({ key }) => {
      try {
        return (await deleteObject(context, definition, key, options, request.user)).stored;
      } catch (error) {
        if (isApiError(error, "NotFound")) return undefined;
        throw error;
      }
    }),
  );
  const items = results.filter((stored) => stored !== undefined);
  await ensureForms(context, definition, items);
  return textResponse(200, rendering.list(items, { resourceVersion: String(context.store.revision) }));
}

/** From the query and the body, which is optional; the body wins. */
export async function deleteOptions(context: ServerContext, request: ApiRequest): Promise<DeleteOptions> {
  const { query } = request;
  const bytes = await request.body();
  const body = bytes.length === 0 ? undefined : (await readObject(request, context.registry.types)).object;
  if (body !== undefined && !isObject(body)) throw badRequest("DeleteOptions is an object");
  const grace: unknown = body?.gracePeriodSeconds ?? numberOf(query.get("gracePeriodSeconds"));
  if (grace !== undefined && grace !== null && !Number.isSafeInteger(grace)) {
    throw badRequest(`gracePeriodSeconds: Invalid value: ${JSON.stringify(grace)}: must be an integer`);
  }
  const dryRun = [...query.getAll("dryRun"), ...((body?.dryRun ?? []) as string[])];
  const policy = (body?.propagationPolicy ?? query.get("propagationPolicy") ?? undefined) as
    | string
    | undefined;
  if (policy !== undefined && !["Foreground", "Background", "Orphan"].includes(policy)) {
    throw invalid({ group: "meta.k8s.io", kind: "DeleteOptions", resource: "deleteoptions" }, "", [
      {
        field: "propagationPolicy",
        message: `Invalid value: "${policy}": supported values: "Background", "Foreground", "Orphan"`,
      },
    ]);
  }
  return {
    gracePeriodSeconds: (grace as number | null) ?? undefined,
    propagationPolicy: policy,
    orphanDependents:
      (body?.orphanDependents as boolean | undefined) ?? booleanOf(query.get("orphanDependents")),
    preconditions: (body?.preconditions ?? undefined) as DeleteOptions["preconditions"],
    dryRun: dryRun.includes("All"),
  };
}

function numberOf(text: string | null): number | undefined {
  return text === null || text === "" ? undefined : Number(text);
}

function booleanOf(text: string | null): boolean | undefined {
  return text === null || text === "" ? undefined : text === "true" || text === "1";
}

/** Removes the object or, where something has to happen first, marks it. Throws `NotFound` and `Conflict`. */
export async function deleteObject(
  context: ServerContext,
  definition: ResourceDefinition,
  key: string,
  options: DeleteOptions,
  user: User,
): Promise<{ stored: Stored; removed: boolean }> {
  const table = tableOf(definition);
  for (let attempt = 1; ; attempt++) {
    const live = context.store.latest(table, key);
    const name = key.slice(key.indexOf("/") + 1);
    if (live === undefined) throw notFound(definition, name);
    checkPreconditions(definition, live.object, options);
    const object = clone(live);
    const mode = { user, dryRun: options.dryRun };
    const admission = admissionOf(context, "DELETE", definition, undefined, live.object, mode);
    await admit(admission);
    await askOthers(admission);
    if (tableOf(definition) === definitionsTable && !options.dryRun) holdDefinition(context, object);
    const waits = mark(context, definition, object, options);
    if (options.dryRun) return { stored: { ...live, object, json: JSON.stringify(object) }, removed: !waits };
    try {
      if (!waits)
        return { stored: await context.store.delete(table, key, live.revision, object), removed: true };
      if (JSON.stringify(object) === live.json) return { stored: live, removed: false };
      return { stored: await context.store.update(table, key, object, live.revision), removed: false };
    } catch (error) {
      const failure = translated(error, definition, name);
      if (attempt >= 5 || !isApiError(failure, "Conflict")) throw failure;
    }
  }
}

function checkPreconditions(definition: ResourceDefinition, live: KubeObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { metadata } = live;
  if (uid && uid !== metadata.uid) {
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`;
    throw conflict(definition, metadata.name, why);
  }
  if (resourceVersion && resourceVersion !== metadata.resourceVersion) {
    const why =
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ` +
      `ResourceVersion in object meta: ${metadata.resourceVersion}`;
    throw conflict(definition, metadata.name, why);
  }
}

/** Puts the deletion into the object; true where the object has to stay for now. */
function mark(
  context: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
  options: DeleteOptions,
): boolean {
  const { metadata } = object;
  const isCore = definition.group === "";
  setPropagation(metadata, options);
  const grace = isCore && definition.resource === "pods" ? podGrace(object, options) : 0;
  const held =
    (metadata.finalizers ?? []).length > 0 ||
    (isCore &&
      definition.resource === "namespaces" &&
      ((object.spec?.finalizers ?? []) as string[]).length > 0);
  if (!held && grace === 0) return false;
  const first = metadata.deletionTimestamp === undefined;
  if (first || grace < (metadata.deletionGracePeriodSeconds ?? 0)) {
    const start = first
      ? context.now()
      : Date.parse(metadata.deletionTimestamp ?? "") - (metadata.deletionGracePeriodSeconds ?? 0) * 1000;
    metadata.deletionTimestamp = timestamp(start + grace * 1000);
    metadata.deletionGracePeriodSeconds = grace;
    if (first && metadata.generation !== undefined) metadata.generation++;
  }
  if (isCore && definition.resource === "namespaces")
    object.status = { ...object.status, phase: "Terminating" };
  return true;
}

function setPropagation(metadata: KubeObject["metadata"], options: DeleteOptions): void {
  const policy =
    options.propagationPolicy ??
    (options.orphanDependents === undefined ? undefined : options.orphanDependents ? "Orphan" : "Background");
  // Asked again without a policy, what was decided first stands.
  if (policy === undefined) return;
  const others = (metadata.finalizers ?? []).filter(
    (one) => one !== "orphan" && one !== "foregroundDeletion",
  );
  const own = policy === "Orphan" ? ["orphan"] : policy === "Foreground" ? ["foregroundDeletion"] : [];
  const finalizers = [...others, ...own];
  if (finalizers.length === 0) delete metadata.finalizers;
  else metadata.finalizers = finalizers;
}

/** A pod that no node runs, or that has ended, needs no time to end. */
function podGrace(pod: KubeObject, options: DeleteOptions): number {
  const asked =
    options.gracePeriodSeconds ?? (pod.spec?.terminationGracePeriodSeconds as number | undefined) ?? 30;
  const grace = Math.max(asked, asked < 0 ? 1 : 0);
  const phase = pod.status?.phase as string | undefined;
  if (!pod.spec?.nodeName || phase === "Succeeded" || phase === "Failed") return 0;
  const before =
    pod.metadata.deletionTimestamp === undefined ? undefined : pod.metadata.deletionGracePeriodSeconds;
  return before === undefined
    ? grace
    : Math.min(before, options.gracePeriodSeconds === undefined ? before : grace);
}
