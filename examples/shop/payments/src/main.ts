import { createApp } from "./app.ts";

const server = createApp();
server.listen(Number(process.env.PORT ?? 8080), () => console.log("payments is listening"));
process.on("SIGTERM", () => server.close());
