import { createApp } from "./app.ts";

const server = createApp({
  maxCents: Number(process.env.MAX_CENTS ?? Infinity),
  adminToken: process.env.ADMIN_TOKEN ?? "",
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log("payments is listening"));
process.on("SIGTERM", () => server.close());
