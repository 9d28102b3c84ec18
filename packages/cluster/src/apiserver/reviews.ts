/** Kinds that are questions: access reviews, token reviews, and who the asker is. They are answered and never stored. */
import type { KubeObject } from "@kws/kube/object";
import { isObject, readObject } from "./bodies.ts";
import { timestamp, type ServerContext } from "./context.ts";
import { badRequest, invalid, noSuchPath, notAcceptable } from "./failures.ts";
import { isJson, parseAccept } from "./rendering.ts";
import type { PathAttributes, ResourceAttributes } from "./authorization.ts";
import { jsonResponse, type ApiRequest, type ApiResponse, type User } from "./request.ts";
import { apiAudiences } from "./tokens.ts";

const groups = new Set(["authentication.k8s.io", "authorization.k8s.io"]);

export function isReview(path: { group: string; resource: string }): boolean {
  return groups.has(path.group) && path.resource.endsWith("reviews");
}

/** What anyone who is authenticated may ask about himself, as upstream's `system:basic-user` role. */
export function isSelfReview(path: { group: string; resource: string }): boolean {
  return isReview(path) && path.resource.startsWith("self");
}

export async function review(
  context: ServerContext,
  request: ApiRequest,
  path: { group: string; resource: string; namespace?: string },
): Promise<ApiResponse> {
  // An answer without metadata of its own makes no row; a client that would take the plain answer too, gets it.
  const plain = parseAccept(request.headers.accept).some(
    (media) => isJson(media) && !media.parameters.has("as"),
  );
  if (!plain) throw notAcceptable();
  const { object } = await readObject(request, context.registry.types);
  if (!isObject(object)) throw badRequest("the request's body is not an object");
  const spec = (object.spec ?? {}) as Record<string, unknown>;
  const status = statusOf(context, request, path.resource, spec);
  const { kind, apiVersion } = object;
  const metadata = { ...object.metadata, creationTimestamp: timestamp(context.now()) };
  const answer: KubeObject = { kind, apiVersion, metadata, spec: object.spec, status };
  return jsonResponse(201, answer);
}

function statusOf(
  context: ServerContext,
  { user }: ApiRequest,
  resource: string,
  spec: Record<string, unknown>,
): object {
  switch (resource) {
    case "selfsubjectreviews":
      return { userInfo: infoOf(user) };
    case "tokenreviews":
      return reviewToken(context, spec);
    case "selfsubjectaccessreviews":
      return decide(context, user, spec);
    case "subjectaccessreviews":
    case "localsubjectaccessreviews": {
      const {
        user: name = "",
        groups: of = [],
        extra,
      } = spec as unknown as { user?: string; groups?: string[]; extra?: User["extra"] };
      if (name === "" && of.length === 0) {
        throw invalid({ group: "authorization.k8s.io", kind: "SubjectAccessReview", resource }, "", [
          { field: "spec.user", message: "Required value: at least one of user or group must be specified" },
        ]);
      }
      return decide(context, { name, groups: of, extra }, spec);
    }
    case "selfsubjectrulesreviews":
      return rulesOf(context, user, typeof spec.namespace === "string" ? spec.namespace : "");
    default:
      throw noSuchPath();
  }
}

function infoOf({ name, uid, groups: of, extra }: User): object {
  return {
    username: name,
    ...(uid === undefined ? {} : { uid }),
    groups: of,
    ...(extra === undefined ? {} : { extra }),
  };
}

function reviewToken({ tokens }: ServerContext, spec: Record<string, unknown>): object {
  const token = typeof spec.token === "string" ? spec.token : "";
  const audiences =
    Array.isArray(spec.audiences) && spec.audiences.length > 0 ? spec.audiences : apiAudiences;
  const result = tokens.authenticate(token);
  if ("error" in result) return { authenticated: false, error: result.error };
  const shared = result.audiences.filter((one) => audiences.includes(one));
  if (shared.length === 0) return { authenticated: false, error: "the token is for another audience" };
  return { authenticated: true, user: infoOf(result.user), audiences: shared };
}

function decide(context: ServerContext, user: User, spec: Record<string, unknown>): object {
  const resource = spec.resourceAttributes as Partial<ResourceAttributes> | undefined;
  const path = spec.nonResourceAttributes as Partial<PathAttributes> | undefined;
  if ((resource === undefined) === (path === undefined)) {
    throw badRequest("spec: exactly one of nonResourceAttributes or resourceAttributes must be specified");
  }
  const { allowed, reason } = context.authorizer.authorize(
    user,
    path === undefined
      ? { verb: "", group: "", resource: "", ...resource }
      : { verb: path.verb ?? "", path: path.path ?? "" },
  );
  return { allowed, ...(reason === "" ? {} : { reason }) };
}

function rulesOf(context: ServerContext, user: User, namespace: string): object {
  const rules = context.authorizer.rules(user, namespace);
  return {
    resourceRules: rules
      .filter((rule) => rule.resources !== undefined && rule.resources.length > 0)
      .map(({ verbs, apiGroups = [], resources, resourceNames }) => ({
        verbs,
        apiGroups,
        resources,
        resourceNames,
      })),
    nonResourceRules: rules
      .filter((rule) => rule.nonResourceURLs !== undefined && rule.nonResourceURLs.length > 0)
      .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: false,
  };
}
