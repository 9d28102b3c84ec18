// The front door: /api/catalog/* and /api/orders/* go to the services, everything else to the pages.
import {
  createServer,
  request as forward,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";

/** Path prefix → base URL; the longest prefix that fits wins and is cut off. */
export type Routes = Record<string, string>;

export function createApp(routes: Routes): Server {
  const prefixes = Object.keys(routes).sort((a, b) => b.length - a.length);
  return createServer((request, response) => {
    const url = request.url ?? "/";
    if (url === "/healthz" || url === "/readyz") {
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"status":"ok"}');
      return;
    }
    const prefix = prefixes.find(
      (candidate) => url === candidate || url.startsWith(`${candidate}/`) || candidate === "/",
    );
    const target = prefix === undefined ? undefined : routes[prefix];
    if (prefix === undefined || target === undefined) return refuse(response, 404, `nothing at ${url}`);
    const path = prefix === "/" ? url : url.slice(prefix.length) || "/";
    proxy(request, response, new URL(path, target));
  });
}

function proxy(request: IncomingMessage, response: ServerResponse, target: URL): void {
  const headers = { ...request.headers, host: target.host, "x-forwarded-host": request.headers.host };
  const upstream = forward(target, { method: request.method, headers, timeout: 30_000 }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  upstream.on("timeout", () => upstream.destroy(new Error("no answer in 30 s")));
  upstream.on("error", (error) =>
    refuse(response, 502, `${target.hostname} does not answer: ${error.message}`),
  );
  response.on("close", () => upstream.destroy());
  request.pipe(upstream);
}

function refuse(response: ServerResponse, status: number, error: string): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ error }));
}
