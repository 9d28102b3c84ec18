import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { type AddressInfo, BlockList, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { listOf } from "./addresses.ts";
import { checkedUrl, parseRetryAfter, send, type SendOptions } from "./send.ts";

const loopback = listOf(["127.0.0.0/8", "::1/128"]);
const options: SendOptions = { allowed: loopback, timeoutMs: 20_000 };
const now = Date.parse("2026-09-21T10:00:00Z");
const post = (url: string, changed: Partial<SendOptions> = {}) =>
  send({ url, headers: { "x-test": "1" }, body: '{"a":1}' }, { ...options, ...changed }, () => now);

async function serve(listener: RequestListener): Promise<number> {
  const server: Server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    if ("closeAllConnections" in server && typeof server.closeAllConnections === "function")
      server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return (server.address() as AddressInfo).port;
}

test("a request arrives with its headers and body", async () => {
  const got: { headers: IncomingMessage["headers"]; body: string }[] = [];
  const port = await serve((request, response) => {
    void text(request).then((body) => {
      got.push({ headers: request.headers, body });
      response.writeHead(204).end();
    });
  });
  expect(await post(`http://127.0.0.1:${port}/hook`)).toEqual({ result: "sent" });
  expect(got).toMatchObject([{ headers: { "x-test": "1", "content-length": "7" }, body: '{"a":1}' }]);
});

test.each([
  [400, "failed"],
  [404, "failed"],
  [410, "failed"],
  [429, "retry"],
  [500, "retry"],
  [503, "retry"],
])("an answer of %d is %s", async (status, result) => {
  const port = await serve((_request, response) => response.writeHead(status).end());
  expect(await post(`http://127.0.0.1:${port}/T0/secret`)).toEqual({
    result,
    reason: `127.0.0.1:${port} answered ${status}`,
  });
});

test("the other side may say when to come back", async () => {
  const port = await serve((_request, response) => response.writeHead(429, { "retry-after": "30" }).end());
  expect(await post(`http://127.0.0.1:${port}`)).toMatchObject({ result: "retry", retryAfterMs: 30_000 });
});

test("redirects are not followed", async () => {
  let asked = 0;
  const port = await serve((_request, response) => {
    asked++;
    response.writeHead(307, { location: "/other" }).end();
  });
  expect(await post(`http://127.0.0.1:${port}`)).toMatchObject({
    result: "failed",
    reason: expect.stringContaining("redirects"),
  });
  expect(asked).toBe(1);
});

test("an answer that never ends is not read", async () => {
  const port = await serve((_request, response) => {
    response.writeHead(200);
    response.write("x".repeat(1000));
  });
  expect(await post(`http://127.0.0.1:${port}`)).toEqual({ result: "sent" });
});

test("a server that does not answer in time is tried later", async () => {
  const port = await serve(() => undefined);
  const outcome = await post(`http://127.0.0.1:${port}/secret`, { timeoutMs: 50 });
  expect(outcome).toEqual({
    result: "retry",
    reason: `127.0.0.1:${port} cannot be reached: no answer within 50 ms`,
  });
});

test("a caller that gives up is told so", async () => {
  const port = await serve(() => undefined);
  await expect(
    post(`http://127.0.0.1:${port}`, { signal: AbortSignal.abort(new Error("stopped")) }),
  ).rejects.toThrow("stopped");
});

test.each([
  "http://127.0.0.1/",
  "http://127.1/",
  "http://2130706433/",
  "http://0x7f000001/",
  "http://0177.0.0.1/",
  "http://①②⑦.0.0.1/",
  "http://[::1]/",
  "http://[::ffff:127.0.0.1]/",
  "http://169.254.169.254/latest/meta-data/",
])("%s is this machine or its cloud, however it is written", async (url) => {
  expect(await post(url, { allowed: new BlockList() })).toMatchObject({ result: "failed" });
  expect(() => checkedUrl(url, new BlockList())).toThrow("is in a network");
});

test.each([
  "file:///etc/passwd",
  "ftp://example.com",
  "https://user:pass@example.com/",
  "//example.com",
  "gopher://x",
])("%s is no address for messages", async (url) => {
  expect(await post(url)).toMatchObject({
    result: "failed",
    reason: expect.stringContaining("not one that"),
  });
});

test("a name is resolved once, and what it leads to is what counts", async () => {
  let asked = 0;
  let arrived = 0;
  const port = await serve((_request, response) => {
    arrived++;
    response.end();
  });
  const resolve = (address: string) => () => {
    asked++;
    return Promise.resolve([{ address, family: 4 }]);
  };
  const url = `http://hooks.example.com:${port}/`;
  expect(await post(url, { resolve: resolve("127.0.0.1") })).toEqual({ result: "sent" });
  expect([asked, arrived]).toEqual([1, 1]);
  expect(await post(url, { resolve: resolve("127.0.0.1"), allowed: new BlockList() })).toMatchObject({
    result: "failed",
    reason: "hooks.example.com is in a network that messages are not sent to",
  });
  expect([asked, arrived]).toEqual([2, 1]);
});

test("of a name with several addresses only those that may be used are", async () => {
  const port = await serve((_request, response) => response.end());
  const resolve = () =>
    Promise.resolve([
      { address: "10.0.0.1", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ]);
  expect(await post(`http://hooks.example.com:${port}/`, { resolve })).toEqual({ result: "sent" });
});

test("a name that is not found is tried later, and the path is not told", async () => {
  const resolve = () => Promise.reject(Object.assign(new Error("queryA ENOTFOUND"), { code: "ENOTFOUND" }));
  expect(await post("http://hooks.example.com/T0/secret", { resolve })).toEqual({
    result: "retry",
    reason: "hooks.example.com cannot be reached: ENOTFOUND",
  });
});

test("Retry-After is in seconds or a date", () => {
  expect(parseRetryAfter("120", now)).toBe(120_000);
  expect(parseRetryAfter("Mon, 21 Sep 2026 10:01:00 GMT", now)).toBe(60_000);
  expect(parseRetryAfter("Mon, 21 Sep 2026 09:00:00 GMT", now)).toBe(0);
  expect(parseRetryAfter("soon", now)).toBeUndefined();
  expect(parseRetryAfter(undefined, now)).toBeUndefined();
});
