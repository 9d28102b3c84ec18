/** Whether an Ingress host is served on this machine. */
import { request } from "node:http";

const patienceMs = 5000;

/**
 * False where an address of this machine, such as `http://orders.localhost:8080`, is one that nothing answers at: the cluster has
 * no Ingress controller, or none that is led to it. Slow answers are answers, and other hosts are not asked.
 */
export async function answersHttp(
  { hostname, port, protocol, host }: URL,
  signal: AbortSignal,
): Promise<boolean> {
  if (protocol !== "http:" || !(hostname === "localhost" || hostname.endsWith(".localhost"))) return true;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  // Not every resolver knows names below localhost; browsers do (RFC 6761, 6.3).
  const asked = request(
    { host: "127.0.0.1", port, method: "HEAD", headers: { host }, agent: false, signal, timeout: patienceMs },
    (answer) => {
      answer.resume();
      resolve(true);
      asked.destroy();
    },
  );
  asked.on("timeout", () => {
    resolve(true);
    asked.destroy();
  });
  // After an answer it says nothing any more.
  asked.on("error", () => resolve(false));
  asked.end();
  const answered = await promise;
  signal.throwIfAborted();
  return answered;
}
