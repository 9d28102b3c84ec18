// The API: the greeting and the newest entries.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { entries as stored } from "./store.js";

createServer(async (_request, response) => {
  const entries = await (await stored()).json();
  const greeting = readFileSync("/etc/greeting.txt", "utf8");
  const admin = process.env.ADMIN_TOKEN === undefined ? "nobody" : "somebody";
  response.end(
    `${greeting}, administered by ${admin}: ${entries.slice(-Number(process.env.PAGE_SIZE)).join(", ")}\n`,
  );
}).listen(4000);
