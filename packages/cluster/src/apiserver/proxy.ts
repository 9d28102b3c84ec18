/** The subresource `proxy` of pods and Services: an HTTP request through the API server into the cluster. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { KubeObject } from "@kws/kube/object";
import { apiError, isApiError, type ApiError } from "@kws/kube/status";
import type { ServerContext } from "./context.ts";
import { admitConnection } from "./connections.ts";
import { badRequest } from "./failures.ts";
import { nodeStreams } from "./podsubresources.ts";
import { storedAt, type Target } from "./reads.ts";
import { tableOf } from "./registry.ts";
import type { ApiResponse } from "./request.ts";

/** Names are `[scheme:]name[:port]`. */
export async function proxy(context: ServerContext, target: Target): Promise<ApiResponse> {
  const { definition, path, request } = target;
  const { scheme, name, port } = parseName(path.name ?? "");
  if (scheme === "https") throw badRequest("proxying to https ports is not supported");
  const object = storedAt(context, { definition, path: { ...path, name } }).object;
  const { pod, port: podPort } =
    definition.resource === "pods" ? podEndpoint(object, port) : serviceEndpoint(context, object, port);
  const { namespace } = path;
  const subject = { name: path.name ?? "", namespace, subresource: "proxy" };
  await admitConnection(
    context,
    definition,
    subject,
    request.user,
    new URLSearchParams({ path: path.rest ?? "/" }),
  );
  const socket = await nodeStreams(context)
    .portForward(pod, podPort)
    .catch((error: unknown) => {
      throw isApiError(error, "InternalError") ? unreachable(error) : error;
    });
  const query = request.query.toString();
  const url = `${path.rest ?? "/"}${query === "" ? "" : `?${query}`}`;
  const answer = await send(socket, request.method, url, request.headers, await request.body());
  const headers: Record<string, string> = {};
  for (const [header, value] of Object.entries(answer.headers)) {
    if (value !== undefined && !hopByHop.has(header))
      headers[header] = Array.isArray(value) ? value.join(", ") : value;
  }
  return { status: answer.statusCode ?? 502, headers, body: answer };
}

/** Headers of one connection alone (RFC 9110 section 7.6.1), and the credentials meant for the API server. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "content-length",
  "authorization",
  "host",
  "expect",
]);

function parseName(text: string): { scheme?: string; name: string; port?: string } {
  const parts = text.split(":");
  if (parts.length === 1) return { name: text };
  if (parts.length === 2) return { name: parts[0] ?? "", port: parts[1] || undefined };
  if (parts.length === 3) return { scheme: parts[0], name: parts[1] ?? "", port: parts[2] || undefined };
  throw badRequest(`invalid service request "${text}"`);
}

interface NamedPort {
  name?: string;
  port: number;
  containerPort: number;
  targetPort?: number | string;
}

function podPorts(pod: KubeObject): NamedPort[] {
  return ((pod.spec?.containers ?? []) as { ports?: NamedPort[] }[]).flatMap(({ ports }) => ports ?? []);
}

function podEndpoint(pod: KubeObject, port: string | undefined): { pod: KubeObject; port: number } {
  const ports = podPorts(pod);
  if (port === undefined) return { pod, port: ports[0]?.containerPort ?? 80 };
  if (/^\d+$/.test(port)) return { pod, port: Number(port) };
  const named = ports.find(({ name }) => name === port);
  if (named === undefined) throw badRequest(`pod "${pod.metadata.name}" has no port "${port}"`);
  return { pod, port: named.containerPort };
}

/** A ready pod behind the port of a Service, by name or number. Throws `ServiceUnavailable`. */
export function serviceEndpoint(
  context: ServerContext,
  service: KubeObject,
  port: string | undefined,
): { pod: KubeObject; port: number } {
  const ports = (service.spec?.ports ?? []) as NamedPort[];
  const chosen =
    port === undefined
      ? ports.length === 1
        ? ports[0]
        : undefined
      : ports.find((one) => one.name === port || String(one.port) === port);
  const { name, namespace = "" } = service.metadata;
  const unavailable = () => apiError("ServiceUnavailable", `no endpoints available for service "${name}"`);
  if (chosen === undefined) throw unavailable();
  const slices = context.store
    .list(tableOf({ group: "discovery.k8s.io", resource: "endpointslices" }), `${namespace}/`)
    .filter(({ object }) => object.metadata.labels?.["kubernetes.io/service-name"] === name);
  for (const { object } of slices) {
    const found = ((object.ports ?? []) as { name?: string; port?: number }[]).find(
      (one) => (one.name ?? "") === (chosen.name ?? ""),
    );
    const endpoints = (object.endpoints ?? []) as {
      conditions?: { ready?: boolean };
      targetRef?: { name: string };
    }[];
    for (const { conditions, targetRef } of endpoints) {
      const pod =
        targetRef === undefined ? undefined : context.store.get("pods", `${namespace}/${targetRef.name}`);
      if (conditions?.ready !== false && pod !== undefined && found?.port !== undefined) {
        return { pod: pod.object, port: found.port };
      }
    }
  }
  throw unavailable();
}

const unreachable = (error: Error): ApiError =>
  apiError("ServiceUnavailable", `error trying to reach service: ${error.message}`);

function send(
  socket: Duplex,
  method: string,
  path: string,
  headers: Record<string, string | undefined>,
  body: Buffer,
): Promise<IncomingMessage> {
  const passed = Object.entries(headers).filter(
    ([name, value]) => value !== undefined && !hopByHop.has(name),
  );
  return new Promise((resolve, reject) => {
    // A runtime may hand over its connections paused, which the HTTP client would not notice.
    socket.resume();
    const outgoing = httpRequest({
      createConnection: () => socket,
      method,
      path,
      headers: {
        ...Object.fromEntries(passed),
        host: headers.host ?? "localhost",
        "content-length": body.length,
        // Otherwise the next request, to whichever pod, would get this connection.
        connection: "close",
      },
    });
    outgoing.on("response", resolve);
    outgoing.on("error", (error) => {
      reject(unreachable(error));
    });
    outgoing.end(body);
  });
}
