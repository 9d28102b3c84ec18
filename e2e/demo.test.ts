/** The main job: a shop of real services on a machine with nothing but Node, from nothing to an order that survives. */
import { request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pods } from "@kws/kube/resources";
import { newKws, type Kws } from "./kws.ts";

interface Answer {
  status: number;
  text: string;
}

let kws: Kws;
let port: number;

beforeAll(async () => {
  kws = await newKws();
  const demo = await kws.run(["demo"]);
  expect(demo.code, demo.stdout + demo.stderr).toBe(0);
  port = (await kws.cluster()).ingressPort;
});
afterAll(() => kws[Symbol.asyncDispose]());

/** A request through the Ingress, as a browser makes it: `*.localhost` is this machine. */
function shop(service: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        port,
        path,
        method: body === undefined ? "GET" : "POST",
        headers: { host: `${service}.shop.localhost:${port}` },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      },
    );
    outgoing.on("error", reject).end(body);
  });
}

const twoCups = JSON.stringify({ email: "me@example.com", items: [{ productId: "cup", quantity: 2 }] });

test("the pages show what there is to buy", async () => {
  const { status, text } = await shop("gateway", "/");
  expect(status).toBe(200);
  expect(text).toContain("Teapot");
});

test("an order placed through the gateway is in PostgreSQL after the cluster was stopped and started", async () => {
  const placed = await shop("gateway", "/api/orders/orders", twoCups);
  expect(placed.status, placed.text).toBe(201);
  const order = JSON.parse(placed.text) as { id: string; status: string; totalCents: number };
  expect(order).toMatchObject({ status: "paid", totalCents: 2400 });

  expect((await kws.run(["cluster", "stop"])).code).toBe(0);
  expect((await kws.run(["cluster", "start"])).code).toBe(0);
  const started = await kws.run(["demo"]);
  expect(started.code, started.stderr).toBe(0);
  port = (await kws.cluster()).ingressPort;

  const found = await shop("gateway", `/api/orders/orders/${order.id}`);
  expect(found.status, found.text).toBe(200);
  expect(JSON.parse(found.text)).toMatchObject({ id: order.id, status: "paid" });
});

test("payments can be told to fail, and the order says so", async () => {
  const mode = (fail: boolean): Promise<{ code: number }> =>
    kws.run([
      "service",
      "exec",
      "payments",
      "--stack",
      "shop",
      "--",
      "node",
      "-e",
      `fetch("http://127.0.0.1:8080/mode", { method: "PUT", body: '{"fail":${fail}}' }).then((r) => process.exit(r.ok ? 0 : 1))`,
    ]);
  expect((await mode(true)).code).toBe(0);
  const declined = await shop("gateway", "/api/orders/orders", twoCups);
  expect(declined.status).toBe(402);
  expect((await mode(false)).code).toBe(0);
  expect((await shop("gateway", "/api/orders/orders", twoCups)).status).toBe(201);
});

test("starting again changes nothing", async () => {
  const client = await kws.client();
  const names = async (): Promise<string[]> =>
    (await client.list(pods, "shop", { labelSelector: "app.kubernetes.io/name!=mailer" })).items
      .map(({ metadata }) => metadata.uid ?? "")
      .toSorted();
  const before = await names();
  const again = await kws.run(["demo"]);
  expect(again.code, again.stderr).toBe(0);
  expect(await names()).toEqual(before);
});

test("the logs of several services come merged, each line with its service", async () => {
  const lines = (await kws.run(["service", "logs", "orders", "catalog", "--stack", "shop", "-o", "json"]))
    .stdout;
  const services = new Set(
    lines
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { service: string }).service),
  );
  expect(services).toEqual(new Set(["orders", "catalog"]));
});

test("removing the stack with --keep-data keeps the orders", async () => {
  const placed = await shop("gateway", "/api/orders/orders", twoCups);
  const { id } = JSON.parse(placed.text) as { id: string };
  expect(
    (await kws.run(["stack", "remove", "shop", "--keep-data", "--yes"], { cwd: "examples/shop" })).code,
  ).toBe(0);
  expect((await kws.run(["demo"])).code).toBe(0);
  expect((await shop("gateway", `/api/orders/orders/${id}`)).status).toBe(200);
});
