import { createApp } from "./app.ts";

const server = createApp({
  "/api/catalog": process.env.CATALOG_URL ?? "http://catalog",
  "/api/orders": process.env.ORDERS_URL ?? "http://orders",
  "/": process.env.WEB_URL ?? "http://web",
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log("gateway is listening"));
process.on("SIGTERM", () => server.close());
