/** The subresource `scale`: replicas of any kind in one shape, `autoscaling/v1` Scale. */
import { toRequirements, formatSelector, type LabelSelector } from "@kws/kube/selector";
import type { KubeObject } from "@kws/kube/object";
import { mediaType, parseBody, readObject, isObject } from "./bodies.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { badRequest, conflict, invalid, methodNotAllowed, notFound } from "./failures.ts";
import { storedAt, type Target } from "./reads.ts";
import { storageKey, tableOf } from "./registry.ts";
import { jsonResponse, type ApiResponse } from "./request.ts";
import type { ScalePaths } from "./resources/resource.ts";
import { serverSideApply } from "./schema/index.ts";
import { copyOf, replaceObject } from "./writing.ts";
import { modeOf, patchTypes, readPatch } from "./writes.ts";

export async function scale(context: ServerContext, target: Target, verb: string): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const paths = definition.scale as ScalePaths;
  if (verb === "get") return jsonResponse(200, toScale(storedAt(context, target).object, paths));
  if (verb !== "update" && verb !== "patch") throw methodNotAllowed();
  const name = path.name ?? "";
  const live = context.store.latest(tableOf(definition), storageKey(definition, path.namespace, name));
  if (live === undefined) throw notFound(definition, name);
  const wanted = await wantedScale(context, target, verb, toScale(live.object, paths));
  const replicas: unknown = wanted.spec?.replicas ?? 0;
  if (!Number.isSafeInteger(replicas) || Number(replicas) < 0) {
    throw invalid({ group: "autoscaling", kind: "Scale", resource: "scales" }, name, [
      {
        field: "spec.replicas",
        message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
      },
    ]);
  }
  const { resourceVersion } = wanted.metadata;
  if (resourceVersion && resourceVersion !== live.object.metadata.resourceVersion)
    throw conflict(definition, name);
  const object = copyOf(definition, live);
  write(object, paths.specReplicas, replicas);
  const mode = { ...modeOf(request), subresource: "scale" };
  const stored = await replaceObject(context, definition, live, object, mode);
  return jsonResponse(200, toScale(stored.object, paths));
}

async function wantedScale(
  context: ServerContext,
  { definition, request }: Target,
  verb: string,
  current: KubeObject,
): Promise<KubeObject> {
  const schema = context.registry.types.get({ group: "autoscaling", version: "v1", kind: "Scale" });
  if (verb === "update") {
    const { object } = await readObject(request, context.registry.types);
    if (!isObject(object) || !isObject(object.metadata))
      throw badRequest("the request's body is not a Scale");
    return object;
  }
  if (mediaType(request) === patchTypes.apply && schema !== undefined) {
    const { object: applied } = parseBody(await request.body(), "yaml");
    if (!isObject(applied)) throw badRequest("the request's body is not a Scale");
    const manager = request.query.get("fieldManager") ?? "";
    const now = timestamp(context.now());
    return serverSideApply({
      schema,
      live: current,
      applied,
      manager,
      force: true,
      apiVersion: "autoscaling/v1",
      now,
    }).object;
  }
  return (await readPatch(request)).edit(current, schema, definition);
}

function toScale(object: KubeObject, paths: ScalePaths): KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: read(object, paths.specReplicas) ?? 0 },
    status: {
      replicas: read(object, paths.statusReplicas) ?? 0,
      selector: selectorText(
        paths.labelSelector === undefined ? undefined : read(object, paths.labelSelector),
      ),
    },
  };
}

function selectorText(selector: unknown): string | undefined {
  if (typeof selector === "string") return selector;
  if (typeof selector !== "object" || selector === null) return undefined;
  const isSelector = "matchLabels" in selector || "matchExpressions" in selector;
  // A ReplicationController's selector is the labels themselves.
  return formatSelector(
    toRequirements(
      isSelector ? (selector as LabelSelector) : { matchLabels: selector as Record<string, string> },
    ),
  );
}

function steps(path: string): string[] {
  return path.split(".").filter((step) => step !== "");
}

function read(object: object, path: string): unknown {
  let value: unknown = object;
  for (const step of steps(path)) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string, unknown>)[step];
  }
  return value;
}

function write(object: KubeObject, path: string, value: unknown): void {
  const all = steps(path);
  let at = object as Record<string, unknown>;
  for (const step of all.slice(0, -1)) {
    if (typeof at[step] !== "object" || at[step] === null) at[step] = {};
    at = at[step] as Record<string, unknown>;
  }
  at[all.at(-1) ?? ""] = value;
}
