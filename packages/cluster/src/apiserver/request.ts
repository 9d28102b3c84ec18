/**
 * A request and its answer as the API server's own code sees them, whether they came over TLS or by a function call, and
 * what a path means. Paths: https://kubernetes.io/docs/reference/using-api/api-concepts/.
 */
import type { Status } from "@kws/kube/status";

/** Who asks. */
export interface User {
  name: string;
  uid?: string;
  groups: string[];
  extra?: Record<string, string[]>;
}

export interface ApiRequest {
  method: string;
  /** Without the query; still percent-encoded. */
  path: string;
  query: URLSearchParams;
  /** Names in lower case. */
  headers: Record<string, string | undefined>;
  body(): Promise<Buffer>;
  user: User;
  /** Aborts when the client has gone. */
  signal: AbortSignal;
}

export interface ApiResponse {
  status: number;
  headers: Record<string, string>;
  /** Text or bytes at once, or chunks as they come. */
  body: string | Uint8Array | AsyncIterable<string | Uint8Array>;
}

/** What a path below `/api` or `/apis` names. */
export interface ResourcePath {
  group: string;
  version: string;
  resource: string;
  namespace?: string;
  name?: string;
  subresource?: string;
  /** What follows the subresource, for proxies: `/metrics`. */
  rest?: string;
}

/** The parts of a resource path, or undefined where it is another kind of path. */
export function parseResourcePath(path: string): ResourcePath | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const core = parts[0] === "api";
  if (!core && parts[0] !== "apis") return undefined;
  const [group, version, rest] = core
    ? ["", parts[1], parts.slice(2)]
    : [parts[1] ?? "", parts[2], parts.slice(3)];
  if (version === undefined || rest.length === 0) return undefined;
  const scoped = rest[0] === "namespaces" && rest.length > 2 && !isNamespaceSubresource(rest);
  const [namespace, resource, name, subresource, ...tail] = scoped
    ? [decode(rest[1]), ...rest.slice(2)]
    : [undefined, ...rest];
  if (resource === undefined) return undefined;
  return {
    group,
    version,
    resource,
    namespace,
    name: decode(name),
    subresource,
    rest:
      subresource === "proxy"
        ? `/${tail.join("/")}${path.endsWith("/") && tail.length > 0 ? "/" : ""}`
        : undefined,
  };
}

/** `namespaces/x/status` and `namespaces/x/finalize` are the namespace's own subresources, all else lies inside it. */
function isNamespaceSubresource(rest: string[]): boolean {
  return rest.length === 3 && (rest[2] === "status" || rest[2] === "finalize");
}

function decode(part: string | undefined): string | undefined {
  if (part === undefined) return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    // Not an encoding: the name is looked up, and not found, as it stands.
    return part;
  }
}

export function jsonResponse(
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): ApiResponse {
  return textResponse(status, JSON.stringify(value), headers);
}

/** An answer whose JSON is there already. */
export function textResponse(
  status: number,
  json: string,
  headers: Record<string, string> = {},
): ApiResponse {
  return { status, headers: { "content-type": "application/json", ...headers }, body: json };
}

export function statusResponse(status: Status): ApiResponse {
  const retry = status.details?.retryAfterSeconds;
  const headers: Record<string, string> = retry === undefined ? {} : { "retry-after": String(retry) };
  return jsonResponse(status.code ?? 500, status, headers);
}
