import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectTls } from "node:tls";
import { connect } from "node:net";
import { once } from "node:events";
import { json } from "node:stream/consumers";
import { parse } from "yaml";
import { expect, test } from "vitest";
import { call, serverFixture } from "./testing/fixture.ts";

const api = serverFixture();

const webSocket = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
};

async function send(method: string, type: string, body: string | Buffer): Promise<[number, string]> {
  const kubeconfig = parse(api.server.kubeconfig()) as {
    users: { user: { "client-certificate-data": string; "client-key-data": string } }[];
  };
  const admin = kubeconfig.users[0]?.user;
  const path = `/api/v1/namespaces/${api.namespace}/configmaps${method === "PATCH" ? "/x" : ""}?fieldManager=test`;
  const outgoing = httpsRequest(`${api.server.url}${path}`, {
    method,
    ca: api.server.caCertificate,
    cert: Buffer.from(admin?.["client-certificate-data"] ?? "", "base64"),
    key: Buffer.from(admin?.["client-key-data"] ?? "", "base64"),
    headers: { "content-type": type },
  });
  outgoing.end(body);
  const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
  const { reason } = (await json(answer)) as { reason: string };
  return [answer.statusCode ?? 0, reason];
}

test("a body that cannot be read is refused with a status", async () => {
  expect(await send("POST", "application/json", "{")).toEqual([400, "BadRequest"]);
  expect(await send("POST", "application/yaml", "a: [")).toEqual([400, "BadRequest"]);
  const protobuf = "application/vnd.kubernetes.protobuf";
  expect(await send("POST", protobuf, "not protobuf")).toEqual([400, "BadRequest"]);
  expect(await send("POST", "image/png", "")).toEqual([415, "UnsupportedMediaType"]);
});

test.each([
  ["POST", "application/json"],
  ["POST", "application/yaml"],
  ["POST", "application/vnd.kubernetes.protobuf"],
  ["PATCH", "application/merge-patch+json"],
  ["PATCH", "application/apply-patch+yaml"],
])("%s of more than 3 MiB of %s is refused before it is parsed", async (method, type) => {
  // Parsed, it would be a bad request.
  const body = Buffer.alloc(3 * 1024 * 1024 + 1, "[");
  expect(await send(method, type, body)).toEqual([413, "RequestEntityTooLarge"]);
});

test("the same server answers on its Unix socket", async () => {
  const raw = connect(api.server.socketPath);
  const socket = connectTls({
    socket: raw,
    ca: api.server.caCertificate,
    servername: "kubernetes.default.svc",
  });
  socket.end("GET /healthz HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await once(socket, "close");
  expect(text).toContain("200 OK");
  expect(socket.authorized).toBe(true);
});

test("an upgrade of a path that is none is refused like any other", async () => {
  expect((await call(api.server, "//", webSocket)).status).toBe(404);
  expect((await call(api.server, "//[", webSocket)).status).toBe(404);
});
