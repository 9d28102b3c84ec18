// GET /products, GET /products/:id, GET /healthz, GET /readyz
import { createServer, type Server, type ServerResponse } from "node:http";

export interface Product {
  id: string;
  name: string;
  description: string;
  priceCents: number;
}

export interface Products {
  list(): Promise<Product[]>;
  find(id: string): Promise<Product | undefined>;
  ping(): Promise<void>;
}

export function createApp(products: Products): Server {
  return createServer((request, response) => {
    handle(request.method ?? "GET", request.url ?? "/", products, response).catch((error: unknown) => {
      console.error(error);
      send(response, 500, { error: "internal error" });
    });
  });
}

async function handle(
  method: string,
  url: string,
  products: Products,
  response: ServerResponse,
): Promise<void> {
  const path = new URL(url, "http://catalog").pathname;
  if (method !== "GET") return send(response, 405, { error: "only GET is allowed" });
  if (path === "/healthz") return send(response, 200, { status: "ok" });
  if (path === "/readyz") {
    try {
      await products.ping();
      return send(response, 200, { status: "ok" });
    } catch {
      return send(response, 503, { status: "the database does not answer" });
    }
  }
  if (path === "/products") return send(response, 200, await products.list());
  const id = /^\/products\/([^/]+)$/.exec(path)?.[1];
  if (id !== undefined) {
    const product = await products.find(decodeURIComponent(id));
    if (product !== undefined) return send(response, 200, product);
  }
  send(response, 404, { error: `nothing at ${path}` });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
