import pg from "pg";
import { createApp } from "./app.ts";
import { createStore } from "./store.ts";

const catalog = process.env.CATALOG_URL ?? "http://catalog";
const payments = process.env.PAYMENTS_URL ?? "http://payments";
const token = process.env.PAYMENTS_TOKEN ?? "";
const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  options: "-c search_path=orders",
  max: 4,
});
pool.on("error", (error) => console.error(`lost a database connection: ${error.message}`));

const server = createApp(createStore(pool), {
  async priceOf(productId) {
    const response = await fetch(`${catalog}/products/${encodeURIComponent(productId)}`, {
      signal: AbortSignal.timeout(5_000),
    });
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`catalog answered ${response.status}`);
    return ((await response.json()) as { priceCents: number }).priceCents;
  },
  async charge(orderId, amountCents) {
    const response = await fetch(`${payments}/charges`, {
      method: "POST",
      headers: token === "" ? {} : { authorization: `Bearer ${token}` },
      body: JSON.stringify({ orderId, amountCents }),
      signal: AbortSignal.timeout(5_000),
    });
    if (response.status === 402) return false;
    if (!response.ok) throw new Error(`payments answered ${response.status}`);
    return true;
  },
});

server.listen(Number(process.env.PORT ?? 8080), () => console.log("orders is listening"));
process.on("SIGTERM", () => server.close(() => void pool.end()));
