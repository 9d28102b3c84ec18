// Entries in a file, one a line, for those who know the password.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

const file = "/data/entries.txt";
const password = readFileSync(process.env.PASSWORD_FILE, "utf8");

createServer(async (request, response) => {
  if (request.url === "/health") return response.end();
  if (request.headers.authorization !== password) return response.writeHead(401).end();
  if (request.method === "POST") appendFileSync(file, `${await text(request)}\n`);
  const entries = existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
  return response.end(JSON.stringify(entries));
}).listen(5000);
