/** Calls of webhooks over HTTPS: at a URL, or at a Service, whose pods are reached as port-forwards are. */
import type { IncomingMessage } from "node:http";
import { request, type RequestOptions } from "node:https";
import type { Duplex } from "node:stream";
import { connect } from "node:tls";
import type { ServerContext } from "./context.ts";
import { nodeStreams } from "./podsubresources.ts";
import { serviceEndpoint } from "./proxy.ts";

/** `clientConfig` of a webhook. */
export interface WebhookClient {
  url?: string;
  service?: { namespace: string; name: string; path?: string; port?: number };
  /** Base64 of PEM; the system's authorities unless given. */
  caBundle?: string;
}

/** Answers are objects, at most as large as what the server takes itself. */
const answerLimit = 3 * 1024 * 1024;

export async function postToWebhook(
  context: ServerContext,
  { url, service, caBundle }: WebhookClient,
  body: object,
  timeoutMs: number,
): Promise<unknown> {
  const signal = AbortSignal.timeout(timeoutMs);
  const ca = caBundle ? Buffer.from(caBundle, "base64") : undefined;
  const headers = { "content-type": "application/json", accept: "application/json" };
  const options = { method: "POST", headers, ca, signal };
  const text = JSON.stringify(body);
  if (service === undefined) return send(new URL(url ?? ""), { ...options, agent: false }, text);
  const stored = context.store.get("services", `${service.namespace}/${service.name}`);
  if (stored === undefined) throw new Error(`service "${service.name}" not found`);
  const { pod, port } = serviceEndpoint(context, stored.object, String(service.port ?? 443));
  const raw = await before(signal, nodeStreams(context).portForward(pod, port));
  const servername = `${service.name}.${service.namespace}.svc`;
  const createConnection = () => connect({ socket: raw, ca, servername });
  try {
    return await send(
      new URL(service.path ?? "/", `https://${servername}`),
      { ...options, createConnection },
      text,
    );
  } finally {
    raw.destroy();
  }
}

/** A connection that comes too late is ended. */
async function before(signal: AbortSignal, connecting: Promise<Duplex>): Promise<Duplex> {
  const late = new Promise<never>((_resolve, reject) => {
    signal.addEventListener("abort", () => {
      connecting.then(
        (socket) => socket.destroy(),
        () => undefined,
      );
      reject(signal.reason as Error);
    });
  });
  return Promise.race([connecting, late]);
}

function send(url: URL, options: RequestOptions, body: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (answer) => {
      readAnswer(answer).then(resolve, reject);
    });
    // The request's own error does not say that it was the time.
    outgoing.on("error", (error) => reject(options.signal?.aborted ? options.signal.reason : error));
    outgoing.end(body);
  });
}

async function readAnswer(answer: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > answerLimit) throw new Error("the answer is too large");
    chunks.push(chunk);
  }
  if (answer.statusCode !== 200) throw new Error(`the server answered ${answer.statusCode}`);
  return JSON.parse(Buffer.concat(chunks).toString());
}
