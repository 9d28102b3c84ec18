// The page: what the API answers, as text.
import { createServer } from "node:http";

createServer(async (_request, response) => {
  const answer = await fetch(process.env.API_URL);
  response.writeHead(answer.status, { "content-type": "text/plain" }).end(await answer.text());
}).listen(3000);
