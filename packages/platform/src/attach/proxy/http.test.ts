import { createServer as createHttp, type Server as HttpServer } from "node:http";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { httpRouter, matchHeaders } from "./http.ts";
import { dialTcp } from "./splice.ts";

/** Says who it is, and what came. */
function named(name: string): HttpServer {
  const server = createHttp((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    request.on("end", () => {
      response.writeHead(200, [
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["trailer", "x-sum"],
      ]);
      response.write(`${name} ${request.method} ${request.url} `);
      response.addTrailers({ "x-sum": String(text.length) });
      response.end(String(text.length));
    });
  });
  server.on("upgrade", (_request, socket: Socket, head: Buffer) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n${name}:`);
    socket.write(head);
    socket.pipe(socket);
  });
  return server;
}

const laptop = named("laptop");
const original = named("original");
const http2 = createHttp2((_request, response) => response.end("http2"));
let proxy: Server;
let laptopThere = true;
let behind: HttpServer | typeof http2 = original;

const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

beforeAll(async () => {
  const route = httpRouter(
    { "x-debug": "me" },
    {
      laptop: async () => (laptopThere ? dialTcp("127.0.0.1", portOf(laptop)) : undefined),
      original: () => dialTcp("127.0.0.1", portOf(behind)),
    },
  );
  proxy = createServer({ allowHalfOpen: true }, route);
  await Promise.all(
    [laptop, original, http2, proxy].map(async (server) => {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }),
  );
});
afterAll(() => {
  for (const server of [laptop, original]) server.closeAllConnections();
  for (const server of [laptop, original, http2, proxy]) server.close();
});

/** Writes to one connection, and reads until all of the words have come. */
async function talk(text: string, ...until: string[]): Promise<string> {
  const socket = connect(portOf(proxy), "127.0.0.1");
  socket.setEncoding("latin1").write(text);
  let said = "";
  for await (const chunk of socket as AsyncIterable<string>) {
    said += chunk;
    if (until.every((word) => said.includes(word))) break;
  }
  socket.destroy();
  return said;
}

test("each request of one connection goes where its headers say", async () => {
  const said = await talk(
    "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" +
      "GET /2 HTTP/1.1\r\nHost: a\r\nX-Debug: me\r\n\r\n" +
      "GET /3 HTTP/1.1\r\nHost: a\r\nX-Debug: other\r\n\r\n",
    "GET /3",
  );
  expect([...said.matchAll(/(laptop|original) GET \/\d/g)].map(([words]) => words)).toEqual([
    "original GET /1",
    "laptop GET /2",
    "original GET /3",
  ]);
});

test("of several headers a request has to have all", () => {
  const wanted = { "x-debug": "me", "x-tenant": "acme" };
  expect(matchHeaders({ ...wanted, accept: "*/*" }, wanted)).toBe(true);
  expect(matchHeaders({ "x-debug": "me" }, wanted)).toBe(false);
  expect(matchHeaders({ "x-debug": "me", "x-tenant": "other" }, wanted)).toBe(false);
});

test("bodies in chunks, repeated headers and trailers pass", async () => {
  const said = await talk(
    "POST /c HTTP/1.1\r\nHost: a\r\nX-Debug: me\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    "x-sum",
  );
  expect(said).toContain("set-cookie: a=1\r\nset-cookie: b=2");
  expect(said).toMatch(/x-sum: 7/);
});

test("a body announced with Expect waits for the answer of whoever gets it", async () => {
  const said = await talk(
    "PUT /e HTTP/1.1\r\nHost: a\r\nX-Debug: me\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    "laptop PUT /e",
  );
  expect(said).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200/);
});

test("an upgraded connection is passed on, also what follows at once", async () => {
  const upgrade =
    "GET /ws HTTP/1.1\r\nHost: a\r\nX-Debug: me\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
  expect(await talk(`${upgrade}hello`, "hello")).toMatch(/101 Switching Protocols[^]*laptop:hello$/);
});

test("what is meant for a laptop that is gone goes to the pods", async () => {
  laptopThere = false;
  try {
    expect(await talk("GET /gone HTTP/1.1\r\nHost: a\r\nX-Debug: me\r\n\r\n", "/gone")).toContain(
      "original GET",
    );
  } finally {
    laptopThere = true;
  }
});

test("HTTP/2 without TLS goes to the pods as it is", async () => {
  behind = http2;
  const session = connectHttp2(`http://127.0.0.1:${portOf(proxy)}`);
  try {
    const stream = session.request({ ":path": "/", "x-debug": "me" }).setEncoding("utf8");
    const chunks: string[] = await stream.toArray();
    expect(chunks.join("")).toBe("http2");
  } finally {
    session.destroy();
    behind = original;
  }
});
