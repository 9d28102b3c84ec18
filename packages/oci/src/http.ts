/**
 * One HTTP exchange: a request whose body may be a stream, and an answer whose body is one. Node reads NODE_EXTRA_CA_CERTS
 * when it starts; proxies are those of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and never stand before this machine itself.
 */
import { once } from "node:events";
import http from "node:http";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import https from "node:https";

export interface Exchange {
  method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT";
  url: URL;
  headers: Record<string, string>;
  body?: Uint8Array | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  /** To be read to its end, or destroyed. */
  body: IncomingMessage;
}

export type Send = (exchange: Exchange) => Promise<Answer>;

/** A peer that says nothing for so long is given up. */
const silenceMs = 60_000;

/** Rejects with Node's own errors (`ECONNRESET`, …); an answer of any status is an answer. */
export function createSend(env: NodeJS.ProcessEnv): Send {
  const proxyEnv = {
    HTTP_PROXY: env["HTTP_PROXY"] ?? env["http_proxy"],
    HTTPS_PROXY: env["HTTPS_PROXY"] ?? env["https_proxy"],
    NO_PROXY: env["NO_PROXY"] ?? env["no_proxy"],
  };
  const agentOptions = { keepAlive: true, timeout: silenceMs };
  const agents = {
    "http:": new http.Agent({ ...agentOptions, proxyEnv }),
    "https:": new https.Agent({ ...agentOptions, proxyEnv }),
  };
  const direct = { "http:": new http.Agent(agentOptions), "https:": new https.Agent(agentOptions) };
  return async ({ method, url, headers, body, signal }) => {
    const secure = url.protocol === "https:";
    const chosen = isLoopback(url.hostname) ? direct : agents;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sent = (secure ? https : http).request(url, {
      method,
      headers,
      agent: chosen[secure ? "https:" : "http:"],
      timeout: silenceMs,
      ...(signal === undefined ? {} : { signal }),
    });
    sent.on("timeout", () => sent.destroy(silent(url)));
    sent.on("error", reject);
    sent.on("response", (message) => {
      // An answer to half a request: the rest is not sent, and the connection cannot be used again.
      message.on("close", () => {
        if (!sent.writableFinished) sent.destroy();
      });
      resolve({ status: message.statusCode ?? 0, headers: message.headers, body: message });
    });
    if (body === undefined || body instanceof Uint8Array) sent.end(body);
    else {
      write(sent, body, promise).catch((error: unknown) => {
        sent.destroy();
        reject(error);
      });
    }
    return promise;
  };
}

async function write(
  sent: http.ClientRequest,
  body: AsyncIterable<Uint8Array>,
  answer: Promise<Answer>,
): Promise<void> {
  let over = false;
  const end = answer.then(
    () => (over = true),
    () => (over = true),
  );
  for await (const chunk of body) {
    if (over) return;
    if (!sent.write(chunk)) {
      // The answer may come, or the connection go, while the peer does not read.
      const waiting = new AbortController();
      const drained = once(sent, "drain", { signal: waiting.signal }).catch(() => {});
      await Promise.race([drained, end]);
      waiting.abort();
    }
  }
  sent.end();
}

function silent(url: URL): Error {
  return Object.assign(new Error(`${url.host} said nothing for ${silenceMs / 1000} s`), {
    code: "ETIMEDOUT",
  });
}

/** This machine, where plain HTTP shows nothing to anybody. */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === "localhost" ||
    hostname.endsWith(".localhost") ||
    hostname === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  );
}

/** The whole body; destroyed, and undefined, where it is longer than the limit. */
export async function readBody({ body }: Answer, limit: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit) {
      body.destroy();
      return undefined;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
