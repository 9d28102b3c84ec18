import { createApp } from "./app.ts";

const server = createApp({
  maxCents: Number(process.env.MAX_CENTS ?? Infinity),
  adminToken: process.env.ADMIN_TOKEN ?? "",
  // Both are good while the token is rotated.
  apiTokens: [process.env.API_TOKEN ?? "", process.env.NEXT_API_TOKEN ?? ""].filter((token) => token !== ""),
});
server.listen(Number(process.env.PORT ?? 8080), () => console.log("payments is listening"));
process.on("SIGTERM", () => server.close());
