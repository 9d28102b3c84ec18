// The API: the greeting and the newest entries.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { entries } from "./store.js";

const greeting = readFileSync("/etc/greeting.txt", "utf8");
const admin = process.env.ADMIN_TOKEN === undefined ? "nobody" : "somebody";

async function answer() {
  const all = await (await entries()).json();
  return `${greeting}, administered by ${admin}: ${all.slice(-Number(process.env.PAGE_SIZE)).join(", ")}\n`;
}

createServer((_request, response) => {
  answer().then(
    (text) => response.end(text),
    (error) => response.writeHead(502).end(`${error}\n`),
  );
}).listen(4000);
