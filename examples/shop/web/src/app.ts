// GET / shows the shop, POST /orders places an order, GET /orders and /orders/:id show them.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { messagePage, orderPage, ordersPage, shopPage, type Order, type Product } from "./pages.ts";

export interface Backends {
  catalogUrl: string;
  ordersUrl: string;
}

export function createApp(backends: Backends): Server {
  return createServer((request, response) => {
    handle(request, response, backends).catch((error: unknown) => {
      console.error(error);
      sendHtml(
        response,
        502,
        messagePage("Out of order", "Something behind this page does not answer. Please try again."),
      );
    });
  });
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  { catalogUrl, ordersUrl }: Backends,
): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://web");
  const route = `${request.method} ${pathname}`;
  if (route === "GET /healthz" || route === "GET /readyz") {
    response.writeHead(200, { "content-type": "application/json" });
    response.end('{"status":"ok"}');
    return;
  }
  const products = async () => (await (await get(`${catalogUrl}/products`)).json()) as Product[];
  if (route === "GET /") return sendHtml(response, 200, shopPage(await products()));
  if (route === "GET /orders") {
    const orders = (await (await get(`${ordersUrl}/orders`)).json()) as Order[];
    return sendHtml(response, 200, ordersPage(orders));
  }
  if (route === "POST /orders") {
    const form = new URLSearchParams(await readText(request));
    const order = orderOf(form);
    if (order.items.length === 0) {
      return sendHtml(
        response,
        400,
        shopPage(await products(), "Choose a quantity of at least one product."),
      );
    }
    const answer = await fetch(`${ordersUrl}/orders`, {
      method: "POST",
      body: JSON.stringify(order),
      signal: AbortSignal.timeout(10_000),
    });
    const body = (await answer.json()) as Order & { error?: string };
    if (body.id === undefined) {
      return sendHtml(response, answer.status, shopPage(await products(), body.error ?? "The order failed."));
    }
    response.writeHead(303, { location: `/orders/${body.id}` });
    response.end();
    return;
  }
  const id = /^GET \/orders\/([0-9a-f-]+)$/.exec(route)?.[1];
  if (id !== undefined) {
    const answer = await fetch(`${ordersUrl}/orders/${id}`, { signal: AbortSignal.timeout(10_000) });
    if (answer.ok) return sendHtml(response, 200, orderPage((await answer.json()) as Order));
  }
  sendHtml(response, 404, messagePage("Not found", "There is no such page."));
}

/** The form has one number per product, and a quantity of 0 means not this one. */
export function orderOf(form: URLSearchParams): {
  email: string;
  items: { productId: string; quantity: number }[];
} {
  const items = [...form]
    .filter(([name, value]) => name !== "email" && Number(value) > 0)
    .map(([productId, quantity]) => ({ productId, quantity: Number(quantity) }));
  return { email: form.get("email") ?? "", items };
}

async function get(url: string): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response;
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > 100_000) throw new Error("the form is too large");
  }
  return text;
}

function sendHtml(response: ServerResponse, status: number, html: string): void {
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
  });
  response.end(html);
}
