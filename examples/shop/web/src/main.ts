import { createApp } from "./app.ts";

const server = createApp({
  catalogUrl: process.env.CATALOG_URL ?? "http://catalog",
  ordersUrl: process.env.ORDERS_URL ?? "http://orders",
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log("web is listening"));
process.on("SIGTERM", () => server.close());
