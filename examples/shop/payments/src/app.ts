// POST /charges {orderId, amountCents}, with one of the API's tokens where there are any; PUT /mode {fail: boolean} tells it to
// refuse, with the admin's token where there is one; GET /charges, /healthz, /readyz
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

interface Charge {
  id: string;
  orderId: string;
  amountCents: number;
}

interface Settings {
  /** Cards are not good for more. */
  maxCents?: number;
  /** Who changes the mode shows it as a bearer token; empty: anybody may. */
  adminToken?: string;
  /** Who charges a card shows one of them as a bearer token; none: anybody may. */
  apiTokens?: string[];
}

export function createApp({ maxCents = Infinity, adminToken = "", apiTokens = [] }: Settings = {}): Server {
  const charges = new Map<string, Charge>();
  let fail = false;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = `${request.method} ${new URL(request.url ?? "/", "http://payments").pathname}`;
    if (route === "GET /healthz" || route === "GET /readyz") return send(response, 200, { status: "ok" });
    if (route === "GET /charges") return send(response, 200, [...charges.values()]);
    if (route === "PUT /mode") {
      if (adminToken !== "" && request.headers.authorization !== `Bearer ${adminToken}`)
        return send(response, 401, { error: "the admin's token is needed" });
      const body = await readJson(request);
      if (typeof body?.fail !== "boolean") return send(response, 400, { error: 'say {"fail": true|false}' });
      fail = body.fail;
      return send(response, 200, { fail });
    }
    if (route === "POST /charges") {
      const allowed = apiTokens.map((token) => `Bearer ${token}`);
      if (allowed.length > 0 && !allowed.includes(request.headers.authorization ?? ""))
        return send(response, 401, { error: "a token of the API is needed" });
      const body = await readJson(request);
      const { orderId, amountCents } = body ?? {};
      if (typeof orderId !== "string" || !Number.isSafeInteger(amountCents) || Number(amountCents) <= 0) {
        return send(response, 400, { error: 'say {"orderId": …, "amountCents": > 0}' });
      }
      if (fail || Number(amountCents) > maxCents)
        return send(response, 402, { error: "the card was declined" });
      // The same order is charged once, however often it is asked for.
      const charge = charges.get(orderId) ?? { id: randomUUID(), orderId, amountCents: Number(amountCents) };
      charges.set(orderId, charge);
      return send(response, 201, charge);
    }
    send(response, 404, { error: `nothing at ${route}` });
  }

  return createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      console.error(error);
      send(response, 500, { error: "internal error" });
    });
  });
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown> | undefined> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > 10_000) return undefined;
  }
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
