// The page: what the API answers, as text.
import { createServer } from "node:http";

async function page() {
  const answer = await fetch(process.env.API_URL);
  return answer.text();
}

createServer((_request, response) => {
  page().then(
    (text) => response.end(text),
    (error) => response.writeHead(502).end(`${error}\n`),
  );
}).listen(3000);
