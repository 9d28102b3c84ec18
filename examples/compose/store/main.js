// Entries in a file, one a line, for those who know the password.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";

const file = "/data/entries.txt";
const password = readFileSync(process.env.PASSWORD_FILE, "utf8");

function entries() {
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
}

createServer((request, response) => {
  if (request.url === "/health") {
    response.end();
  } else if (request.headers.authorization !== password) {
    response.writeHead(401).end();
  } else {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      if (request.method === "POST") appendFileSync(file, `${text}\n`);
      response.end(JSON.stringify(entries()));
    });
  }
}).listen(5000);
