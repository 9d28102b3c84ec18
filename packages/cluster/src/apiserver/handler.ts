/** From a request to its answer: routing, authorization, and the one place where failures become `Status` objects. */
import { messageOf } from "@kws/base/errors";
import { ApiError, apiError } from "@kws/kube/status";
import { isPublicPath, unauthorized } from "./authentication.ts";
import { refusal, type PathAttributes, type ResourceAttributes } from "./authorization.ts";
import { warningHeader } from "./bodies.ts";
import type { ServerContext } from "./context.ts";
import { remove, removeCollection } from "./deletion.ts";
import { discover } from "./discovery.ts";
import { badRequest, methodNotAllowed, noSuchPath } from "./failures.ts";
import { effectiveUser } from "./impersonation.ts";
import { information } from "./information.ts";
import { metrics } from "./metrics.ts";
import { bind, evict, finalizeNamespace, logs, requestToken } from "./podsubresources.ts";
import { proxy } from "./proxy.ts";
import { get, list, type Target } from "./reads.ts";
import { verbsOf } from "./registry.ts";
import {
  parseResourcePath,
  statusResponse,
  type ApiRequest,
  type ApiResponse,
  type ResourcePath,
} from "./request.ts";
import { metricsGroup } from "./resources/metrics.ts";
import type { Verb } from "./resources/resource.ts";
import { isReview, isSelfReview, review } from "./reviews.ts";
import { scale } from "./scale.ts";
import { hasSubresource } from "./subresources.ts";
import { watch } from "./watches.ts";
import { create, patch, update } from "./writes.ts";

export type Handler = (request: ApiRequest) => Promise<ApiResponse>;

export function createHandler(context: ServerContext): Handler {
  return async (request) => {
    try {
      const user = effectiveUser(context.authorizer, request);
      return await route(context, user === request.user ? request : { ...request, user });
    } catch (error) {
      return failure(context, request, error);
    }
  };
}

/** The answer to something thrown; what is no refusal is a bug, which the log describes and the client does not see. */
export function failure(
  context: ServerContext,
  request: { method: string; path: string },
  error: unknown,
): ApiResponse {
  if (error instanceof ApiError) return statusResponse(error.status);
  context.logger.error("request failed", {
    method: request.method,
    path: request.path,
    error: error instanceof Error ? error.stack : messageOf(error),
  });
  return statusResponse(apiError("InternalError", `Internal error occurred: ${messageOf(error)}`).status);
}

async function route(context: ServerContext, request: ApiRequest): Promise<ApiResponse> {
  if (request.user.groups.includes("system:unauthenticated") && !isPublicPath(request.path))
    throw unauthorized();
  const path = parseResourcePath(request.path);
  if (path === undefined) return routeOther(context, request);
  if (isReview(path)) {
    if (request.method !== "POST") throw methodNotAllowed();
    if (!isSelfReview(path)) authorize(context, request, attributesOf(path, "create"));
    return review(context, request, path);
  }
  const definition = context.registry.find(path);
  const known =
    definition !== undefined &&
    (path.subresource === undefined || hasSubresource(definition, path.subresource));
  const verb = verbOf(request, path);
  authorize(
    context,
    request,
    attributesOf(path, verb, definition === undefined ? undefined : nameInQuery(request)),
  );
  if (!known) throw noSuchPath();
  const target: Target = { definition, path, request };
  const deprecation = path.group === "" ? deprecations[path.resource] : undefined;
  if (definition.namespaced && path.namespace === undefined && !["list", "watch"].includes(verb)) {
    throw path.name === undefined ? methodNotAllowed() : noSuchPath();
  }
  if (!definition.namespaced && path.namespace !== undefined) throw noSuchPath();
  if (path.subresource !== undefined) return routeSubresource(context, target, verb);
  if (!verbsOf(definition).includes(verb)) throw methodNotAllowed();
  if (definition.group === metricsGroup) return metrics(context, target);
  const response = await perform(context, target, verb);
  return deprecation === undefined ? response : withWarning(response, deprecation);
}

/** What upstream says to everyone who uses a kind that it will not develop further, by resource of the core group. */
const deprecations: Record<string, string> = {
  endpoints: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
};

function withWarning(response: ApiResponse, text: string): ApiResponse {
  const all = [response.headers["warning"], warningHeader([text])["warning"]].filter(Boolean).join(", ");
  return { ...response, headers: { ...response.headers, warning: all } };
}

function perform(context: ServerContext, target: Target, verb: Verb): Promise<ApiResponse> | ApiResponse {
  switch (verb) {
    case "get":
      return get(context, target);
    case "list":
      return list(context, target);
    case "watch":
      return watch(context, target);
    case "create":
      if (target.path.name !== undefined) throw methodNotAllowed();
      return create(context, target);
    case "update":
      return update(context, target);
    case "patch":
      return patch(context, target);
    case "delete":
      return remove(context, target);
    case "deletecollection":
      return removeCollection(context, target);
  }
}

async function routeSubresource(context: ServerContext, target: Target, verb: Verb): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const { subresource } = path;
  if (subresource === "scale") return scale(context, target, verb);
  if (subresource === "proxy") return proxy(context, target);
  if (["status", "approval", "ephemeralcontainers", "resize"].includes(subresource ?? "")) {
    if (verb === "get" || verb === "update" || verb === "patch") return perform(context, target, verb);
    throw methodNotAllowed();
  }
  const isPost = request.method === "POST";
  if (subresource === "log" && request.method === "GET") return logs(context, target);
  if (subresource === "binding" && isPost) return bind(context, target);
  if (subresource === "eviction" && isPost) return evict(context, target);
  if (subresource === "token" && isPost) return requestToken(context, target);
  if (subresource === "finalize" && request.method === "PUT") return finalizeNamespace(context, target);
  if (definition.resource === "pods" && ["exec", "attach", "portforward"].includes(subresource ?? "")) {
    throw badRequest("Upgrade request required");
  }
  throw methodNotAllowed();
}

/** Everything but resources: health, version, discovery, OpenAPI. */
async function routeOther(context: ServerContext, request: ApiRequest): Promise<ApiResponse> {
  if (!isPublicPath(request.path) && !isDiscoveryPath(request.path)) {
    authorize(context, request, { verb: request.method.toLowerCase(), path: request.path });
  }
  if (request.method !== "GET" && request.method !== "HEAD") throw methodNotAllowed();
  const answer = discover(context.registry, request) ?? (await information(context, request));
  if (answer === undefined) throw noSuchPath();
  return answer;
}

/** What every authenticated user may read, as upstream's `system:discovery` role. */
function isDiscoveryPath(path: string): boolean {
  return /^\/(?:apis?|openapi|version|healthz|livez|readyz|openid|\.well-known)(?:\/|$)/.test(path);
}

const verbsOfMethods: Record<string, Verb> = {
  POST: "create",
  PUT: "update",
  PATCH: "patch",
};

export function verbOf(
  { method, query }: { method: string; query: URLSearchParams },
  path: ResourcePath,
): Verb {
  if (method === "GET" || method === "HEAD") {
    const watching = query.get("watch");
    const isWatch = watching === "true" || watching === "1";
    if (path.subresource === undefined && isWatch) return "watch";
    return path.name === undefined ? "list" : "get";
  }
  if (method === "DELETE") return path.name === undefined ? "deletecollection" : "delete";
  const verb = verbsOfMethods[method];
  if (verb === undefined) throw methodNotAllowed();
  return verb;
}

/** As upstream: a list or watch of one name by field selector is authorized as a request for that name. */
function nameInQuery({ query }: ApiRequest): string | undefined {
  return /^metadata\.name==?(?<name>[^,=!]+)$/.exec(query.get("fieldSelector") ?? "")?.groups?.name;
}

export function attributesOf(path: ResourcePath, verb: string, name?: string): ResourceAttributes {
  const isNamespace = path.group === "" && path.resource === "namespaces";
  return {
    verb,
    group: path.group,
    version: path.version,
    resource: path.resource,
    subresource: path.subresource,
    namespace: isNamespace ? path.name : path.namespace,
    name: path.name ?? name,
  };
}

/** Throws `Unauthorized` and `Forbidden`. */
export function authorize(
  context: ServerContext,
  { user }: { user: ApiRequest["user"] },
  attributes: ResourceAttributes | PathAttributes,
): void {
  if (user.groups.includes("system:unauthenticated")) throw unauthorized();
  if (!context.authorizer.authorize(user, attributes).allowed) throw refusal(user, attributes);
}
