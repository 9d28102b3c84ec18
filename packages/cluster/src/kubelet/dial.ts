/** HTTP and TCP from inside the cluster's network, for probes and hooks: over connections that the runtime dials. */
import { request as httpRequest } from "node:http";
import type { Duplex } from "node:stream";
import { connect as tlsConnect } from "node:tls";
import type { HttpGetAction } from "./pod.ts";
import type { Runtime } from "./runtime.ts";

export type Dial = Runtime["dial"];

/** Rejects with a timeout error when the promise takes longer; the signal ends the wait too. */
export async function within<T>(promise: Promise<T>, milliseconds: number, signal?: AbortSignal): Promise<T> {
  const { promise: ended, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("context deadline exceeded")), milliseconds);
  const onAbort = () => reject(new Error("context canceled"));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, ended]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Opens a connection and closes it again. */
export async function dialOnce(dial: Dial, host: string, port: number, timeoutMs: number): Promise<void> {
  const connecting = dial(host, port);
  try {
    (await within(connecting, timeoutMs)).destroy();
  } catch (error) {
    connecting.then(
      (late) => late.destroy(),
      () => {
        // The same failure as the one thrown.
      },
    );
    throw error;
  }
}

export interface HttpAnswer {
  status: number;
  /** At most 10 KiB. */
  body: string;
}

/** A GET as probes make it: own user agent, certificates not checked, no keep-alive. */
export async function httpGet(
  dial: Dial,
  host: string,
  port: number,
  action: HttpGetAction,
  timeoutMs: number,
): Promise<HttpAnswer> {
  const connecting = dial(host, port);
  let connection: Duplex | undefined;
  try {
    connection = await within(connecting, timeoutMs);
    const answer = get(connection, host, port, action);
    return await within(answer, timeoutMs);
  } finally {
    if (connection === undefined) {
      connecting.then(
        (late) => late.destroy(),
        () => {
          // Reported by the await above.
        },
      );
    }
    connection?.destroy();
  }
}

function get(socket: Duplex, host: string, port: number, action: HttpGetAction): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const secure = action.scheme?.toUpperCase() === "HTTPS";
  const headers: Record<string, string> = {
    host: `${host}:${port}`,
    "user-agent": "kube-probe/1.35",
    accept: "*/*",
    connection: "close",
  };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  const path = action.path ?? "/";
  // A runtime may hand over its connections paused, which the HTTP client would not notice.
  socket.resume();
  const request = httpRequest({
    method: "GET",
    path: path.startsWith("/") ? path : `/${path}`,
    headers,
    createConnection: () => (secure ? tlsConnect({ socket, rejectUnauthorized: false }) : socket),
  });
  request.on("response", (response) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const done = () =>
      resolve({
        status: response.statusCode ?? 0,
        body: Buffer.concat(chunks).toString("utf8").slice(0, 10_240),
      });
    response.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= 10_240) done();
    });
    response.on("end", done);
    response.on("error", reject);
  });
  request.on("error", reject);
  socket.on("error", reject);
  request.end();
  return promise;
}
