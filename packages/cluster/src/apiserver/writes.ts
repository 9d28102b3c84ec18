/** The verbs `create`, `update` and `patch`. */
import type { KubeObject } from "@kws/kube/object";
import { apiError, isApiError } from "@kws/kube/status";
import type { Stored } from "../storage/stored.ts";
import {
  isObject,
  mediaType,
  parseBody,
  readObject,
  validateApplied,
  validateFields,
  warningHeader,
} from "./bodies.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { ensureForms } from "./conversion.ts";
import { applyConflict, badRequest, conflict, invalid, notFound, unsupportedMediaType } from "./failures.ts";
import type { Target } from "./reads.ts";
import { apiVersionOf, inVersion, storageKey, tableOf } from "./registry.ts";
import { renderingOf } from "./rendering.ts";
import { textResponse, type ApiRequest, type ApiResponse } from "./request.ts";
import type { ResourceDefinition } from "./resources/resource.ts";
import { jsonPatch, mergePatch, SchemaError, serverSideApply, strategicMergePatch } from "./schema/index.ts";
import { copyOf, createObject, generateName, replaceObject, schemaOf, type WriteMode } from "./writing.ts";

export const patchTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

/** How often a patch is tried again when others write the object at the same time; as upstream. */
const patchAttempts = 5;

export async function create(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const rendering = renderingOf(request, definition, context.now);
  const mode = modeOf(request);
  const { object, warnings } = await readTyped(context, target);
  checkScope(definition, object, path.namespace);
  if (object.metadata.resourceVersion) {
    throw badRequest("resourceVersion should not be set on objects to be created");
  }
  const stored = await createNamed(context, definition, object, { ...mode, warnings });
  return textResponse(201, rendering.object(stored), warningHeader(warnings));
}

/** With `generateName`, a name that is taken is drawn again. */
async function createNamed(
  context: ServerContext,
  definition: ResourceDefinition,
  object: KubeObject,
  mode: WriteMode,
): Promise<Stored> {
  const { generateName: base, name } = object.metadata;
  if (name || !base) return createObject(context, definition, object, mode);
  const table = tableOf(definition);
  for (let attempt = 0; attempt < 8; attempt++) {
    object.metadata.name = generateName(base);
    const key = storageKey(definition, object.metadata.namespace, object.metadata.name);
    if (context.store.latest(table, key) === undefined) break;
  }
  return createObject(context, definition, object, mode);
}

export async function update(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const rendering = renderingOf(request, definition, context.now);
  const mode = modeOf(request, path.subresource);
  const { object, warnings } = await readTyped(context, target);
  checkScope(definition, object, path.namespace);
  const name = path.name ?? "";
  if (object.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${object.metadata.name || "based on URL"}) does not match the name on the URL (${name})`,
    );
  }
  const key = storageKey(definition, path.namespace, name);
  // Without a version the last writer wins, also over one that comes in between.
  const attempts = object.metadata.resourceVersion ? 1 : patchAttempts;
  const stored = await retrying(attempts, () => {
    const live = context.store.latest(tableOf(definition), key);
    if (live === undefined) {
      // As upstream: an update that names a version or a uid means an object that was there.
      if (object.metadata.uid) {
        const why = `Precondition failed: UID in precondition: ${object.metadata.uid}, UID in object meta: `;
        throw conflict(definition, name, why);
      }
      throw notFound(definition, name);
    }
    return replaceObject(context, definition, live, structuredClone(object), { ...mode, warnings });
  });
  return textResponse(200, rendering.object(stored), warningHeader(warnings));
}

export async function patch(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, request } = target;
  const rendering = renderingOf(request, definition, context.now);
  if (mediaType(request) === patchTypes.apply) {
    const { stored, created, warnings } = await apply(context, target);
    return textResponse(created ? 201 : 200, rendering.object(stored), warningHeader(warnings));
  }
  const { stored, warnings } = await patchWith(context, target, await readPatch(request));
  return textResponse(200, rendering.object(stored), warningHeader(warnings));
}

export interface Patch {
  /** From the object as it is to the object as it shall be. */
  edit: (
    object: KubeObject,
    schema: ReturnType<typeof schemaOf>,
    definition: ResourceDefinition,
  ) => KubeObject;
  /** Fields that the patch gives twice. */
  duplicates: string[];
}

export async function readPatch(request: ApiRequest): Promise<Patch> {
  const type = mediaType(request);
  const accepted = Object.values(patchTypes);
  if (!(accepted as string[]).includes(type)) throw unsupportedMediaType(type, accepted);
  const { object: value, duplicates } = parseBody(await request.body(), "json");
  if (type === patchTypes.json) {
    if (!Array.isArray(value)) throw badRequest("error decoding patch: a JSON patch is a list of operations");
    if (value.length > 10_000) {
      throw apiError("RequestEntityTooLarge", "The allowed maximum operations in a JSON patch is 10000");
    }
    return { edit: (object) => jsonPatch(object, value), duplicates };
  }
  if (!isObject(value)) throw badRequest("error decoding patch: a patch is an object");
  if (type === patchTypes.merge) return { edit: (object) => mergePatch(object, value), duplicates };
  const edit: Patch["edit"] = (object, schema, definition) => {
    if (schema === undefined) {
      throw unsupportedMediaType(type, [patchTypes.json, patchTypes.merge, patchTypes.apply]);
    }
    try {
      return strategicMergePatch(schema, object, value);
    } catch (error) {
      if (error instanceof SchemaError)
        throw invalid(definition, object.metadata.name, [{ message: error.message }]);
      throw error;
    }
  };
  return { edit, duplicates };
}

export async function patchWith(
  context: ServerContext,
  { definition, path, request }: Target,
  { edit, duplicates }: Patch,
): Promise<{ stored: Stored; warnings: string[] }> {
  const mode = modeOf(request, path.subresource);
  const name = path.name ?? "";
  const key = storageKey(definition, path.namespace, name);
  const schema = schemaOf(context, definition);
  let warnings: string[] = [];
  const stored = await retrying(patchAttempts, async () => {
    const live = context.store.latest(tableOf(definition), key);
    if (live === undefined) throw notFound(definition, name);
    await ensureForms(context, definition, [live]);
    const before = copyOf(definition, live);
    const object = patched(() => edit(before, schema, definition));
    if (!isObject(object) || !isObject(object.metadata))
      throw badRequest("the patch does not leave an object");
    if (
      object.metadata.resourceVersion !== live.object.metadata.resourceVersion &&
      object.metadata.resourceVersion
    ) {
      throw final(conflict(definition, name));
    }
    checkKind(definition, object);
    if (object.metadata.name !== name) {
      throw badRequest(
        `the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`,
      );
    }
    warnings = validateFields(request, schema, object, duplicates);
    return replaceObject(context, definition, live, object, { ...mode, warnings });
  });
  return { stored, warnings };
}

function patched<T>(edit: () => T): T {
  try {
    return edit();
  } catch (error) {
    // As upstream: a JSON patch whose test fails, or whose path is not there, cannot be processed.
    if (error instanceof SchemaError) throw apiError("Invalid", error.message, {});
    throw error;
  }
}

/** Server-side apply: https://kubernetes.io/docs/reference/using-api/server-side-apply/. */
export async function apply(
  context: ServerContext,
  { definition, path, request }: Target,
): Promise<{ stored: Stored; created: boolean; warnings: string[] }> {
  const { query } = request;
  const manager = query.get("fieldManager") ?? "";
  if (manager === "") {
    throw invalid({ group: "meta.k8s.io", kind: "PatchOptions", resource: "patchoptions" }, "", [
      {
        reason: "FieldValueRequired",
        field: "fieldManager",
        message: "Required value: is required for apply patch",
      },
    ]);
  }
  const name = path.name ?? "";
  const bytes = await request.body();
  const { object: body, duplicates } = parseBody(bytes, "yaml");
  if (!isObject(body)) throw badRequest("error decoding YAML: an applied configuration is an object");
  const applied = body;
  checkKind(definition, applied);
  applied.metadata = isObject(applied.metadata) ? applied.metadata : ({} as KubeObject["metadata"]);
  checkScope(definition, applied, path.namespace);
  if ((applied.metadata.name ?? name) !== name) {
    throw badRequest(
      `the name of the object (${applied.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  applied.metadata.name = name;
  if (applied.metadata.managedFields !== undefined && applied.metadata.managedFields !== null) {
    throw badRequest("metadata.managedFields must be nil");
  }
  delete applied.metadata.managedFields;
  const schema = schemaOf(context, definition);
  if (schema === undefined) throw unsupportedMediaType(patchTypes.apply, [patchTypes.json, patchTypes.merge]);
  const warnings = validateApplied(request, bytes, duplicates);
  const key = storageKey(definition, path.namespace, name);
  const mode: WriteMode = { ...modeOf(request, path.subresource), manager: undefined, warnings };
  let created = false;
  const stored = await retrying(patchAttempts, async () => {
    const live = context.store.latest(tableOf(definition), key);
    if (live !== undefined) await ensureForms(context, definition, [live]);
    const { resourceVersion, uid } = applied.metadata;
    if (live === undefined && (path.subresource !== undefined || uid)) throw notFound(definition, name);
    if (live !== undefined && resourceVersion && resourceVersion !== live.object.metadata.resourceVersion) {
      throw final(conflict(definition, name));
    }
    const { object, conflicts } = patched(() =>
      serverSideApply({
        schema,
        live: live === undefined ? undefined : inVersion(definition, live.object),
        applied,
        manager,
        force: query.get("force") === "true",
        apiVersion: apiVersionOf(definition),
        subresource: path.subresource,
        ignore: ignoredPaths(definition, path.subresource),
        now: timestamp(context.now()),
      }),
    );
    if (conflicts.length > 0) {
      throw final(applyConflict(conflicts));
    }
    created = live === undefined;
    return live === undefined
      ? createObject(context, definition, object, mode)
      : replaceObject(context, definition, live, object, mode);
  });
  return { stored, created, warnings };
}

/** What an endpoint does not write, its appliers do not own. */
function ignoredPaths(definition: ResourceDefinition, subresource: string | undefined): string[] {
  if (subresource === "status") return ["spec"];
  return definition.hasStatus ? ["status"] : [];
}

/** The body as an object of the definition's kind. Throws `BadRequest`. */
export async function readTyped(
  context: ServerContext,
  { definition, request }: Target,
): Promise<{ object: KubeObject; warnings: string[] }> {
  const { object, duplicates } = await readObject(request, context.registry.types);
  if (!isObject(object)) throw badRequest("the request's body is not an object");
  checkKind(definition, object);
  object.metadata = isObject(object.metadata) ? object.metadata : ({} as KubeObject["metadata"]);
  const warnings = validateFields(request, schemaOf(context, definition), object, duplicates);
  return { object, warnings };
}

function checkKind(definition: ResourceDefinition, object: KubeObject): void {
  const expected = apiVersionOf(definition);
  // Typed clients that send JSON may leave both out.
  object.apiVersion ??= expected;
  object.kind ??= definition.kind;
  if (object.apiVersion !== expected) {
    throw badRequest(
      `the API version in the data (${object.apiVersion}) does not match the expected API version (${expected})`,
    );
  }
  if (object.kind !== definition.kind) {
    throw badRequest(
      `the kind in the data (${object.kind}) does not match the expected kind (${definition.kind})`,
    );
  }
}

function checkScope(definition: ResourceDefinition, object: KubeObject, namespace: string | undefined): void {
  if (!definition.namespaced) return;
  if (object.metadata.namespace && object.metadata.namespace !== namespace) {
    throw badRequest(
      "the namespace of the provided object does not match the namespace sent on the request " +
        `(${object.metadata.namespace} and ${namespace})`,
    );
  }
  object.metadata.namespace = namespace;
}

export function modeOf(request: ApiRequest, subresource?: string): WriteMode {
  const dryRun = request.query.getAll("dryRun");
  if (dryRun.some((value) => value !== "All" && value !== "")) {
    throw invalid({ group: "meta.k8s.io", kind: "CreateOptions", resource: "createoptions" }, "", [
      { field: "dryRun", message: `Unsupported value: "${dryRun.join(",")}": supported values: "All"` },
    ]);
  }
  const agent = request.headers["user-agent"]?.split("/")[0]?.slice(0, 128);
  return {
    user: request.user,
    dryRun: dryRun.includes("All"),
    manager: request.query.get("fieldManager") || agent || "unknown",
    subresource,
  };
}

const finals = new WeakSet<Error>();

/** Marks a conflict that trying again does not resolve. */
function final(error: Error): Error {
  finals.add(error);
  return error;
}

async function retrying<T>(attempts: number, write: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (error) {
      if (attempt >= attempts || !isApiError(error, "Conflict") || finals.has(error)) throw error;
    }
  }
}
