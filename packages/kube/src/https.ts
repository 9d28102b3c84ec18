/** A `Transport` over HTTPS (or HTTP, for a proxy on loopback) to any API server, with connections kept open. */
import type { IncomingMessage } from "node:http";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { createSecureContext } from "node:tls";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import type { ClusterAccess } from "./kubeconfig.ts";
import type { Transport, TransportRequest, TransportResponse } from "./transport.ts";

/** Not imported: that would load Node's `fetch` as well, which takes longer than a connection. */
const { Agent: HttpAgent, request: httpRequest } = process.getBuiltinModule("node:http");

export interface HttpsTransport extends Transport {
  /** Closes the connections that are kept open. */
  close(): void;
}

export function httpsTransport(access: ClusterAccess): HttpsTransport {
  const server = new URL(access.server);
  const plain = server.protocol === "http:";
  const agent = plain ? new HttpAgent({ keepAlive: true }) : tlsAgent(access);
  const base = server.pathname.replace(/\/$/, "");
  const send = async (request: TransportRequest): Promise<TransportResponse> => {
    const options: RequestOptions = {
      method: request.method,
      host: server.hostname.replace(/^\[|\]$/g, ""),
      port: server.port === "" ? (plain ? 80 : 443) : server.port,
      path: base + request.path,
      agent,
      signal: request.signal,
      headers: {
        ...(await access.headers()),
        ...request.headers,
        ...(request.body === undefined ? {} : { "content-length": Buffer.byteLength(request.body) }),
      },
    };
    return new Promise((resolve, reject) => {
      const outgoing = (plain ? httpRequest : httpsRequest)(options, (response) => {
        resolve({
          status: response.statusCode ?? 0,
          headers: flat(response),
          body: response,
        });
      });
      outgoing.once("error", (error) => reject(explain(error, access.server, request.signal)));
      outgoing.end(request.body);
    });
  };
  return { request: send, close: () => agent.destroy() };
}

function tlsAgent(access: ClusterAccess): Agent {
  return new Agent({
    keepAlive: true,
    // One for all connections: certificates and key are read once.
    secureContext: createSecureContext({ ca: access.ca, cert: access.cert, key: access.key }),
    ...(access.serverName === undefined ? {} : { servername: access.serverName }),
    rejectUnauthorized: access.insecureSkipTlsVerify !== true,
  });
}

function flat(response: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}

function explain(error: Error, server: string, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (isErrno(error, "ECONNREFUSED", "ENOTFOUND", "EHOSTUNREACH", "ETIMEDOUT", "ENETUNREACH")) {
    return new UserError(`the API server at ${server} does not answer`, {
      code: "tool-missing",
      fix: "Start the cluster, or check the context's server address.",
      cause: error,
    });
  }
  if (isErrno(error, "ECONNRESET", "EPIPE")) {
    return new UserError(`the API server at ${server} closed the connection`, {
      fix: "Try again; `kws cluster status` tells whether it runs.",
      cause: error,
    });
  }
  return new UserError(`no TLS connection to the API server at ${server}: ${messageOf(error)}`, {
    code: "permission",
    cause: error,
  });
}
