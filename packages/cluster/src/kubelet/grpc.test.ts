import { once } from "node:events";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { connect, type AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkHealth } from "./grpc.ts";

/** HealthCheckResponse.ServingStatus. */
const serving = 1;
const notServing = 2;
const notFound = "5";

let server: Http2Server;
let onCheck: (stream: ServerHttp2Stream, service: string) => void;
let paths: string[];

beforeEach(async () => {
  paths = [];
  server = createServer();
  server.on("stream", (stream, headers) => {
    paths.push(`${headers[":method"]} ${headers[":path"]} ${headers["content-type"]}`);
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => undefined); // The client has given up.
    stream.on("end", () => {
      const body = Buffer.concat(chunks);
      // Behind the frame's five bytes: field 1, a length, the name; nothing at all for the empty name.
      onCheck(stream, body.subarray(7).toString());
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterEach(() => server.close());

function answer(stream: ServerHttp2Stream, status: number): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, status]));
}

async function check(service = "", timeoutMs = 5000): Promise<string | undefined> {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  return checkHealth(socket, "10.244.0.9:50051", service, timeoutMs);
}

test("a server that says it is serving is well, for the whole and for a service by name", async () => {
  onCheck = (stream, service) =>
    answer(stream, service === "" || service === "shop.Cart" ? serving : notServing);
  expect(await check()).toBeUndefined();
  expect(await check("shop.Cart")).toBeUndefined();
  expect(await check("shop.Orders")).toBe('service unhealthy (responded with "NOT_SERVING")');
  expect(new Set(paths)).toEqual(new Set(["POST /grpc.health.v1.Health/Check application/grpc"]));
});

test("a service that the server does not know is an error with its code", async () => {
  onCheck = (stream) => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc", "grpc-status": notFound },
      { endStream: true },
    );
  };
  expect(await check("none")).toBe("health rpc failed with code 5");
});

test("a server that never answers is given up in time", async () => {
  onCheck = () => undefined;
  expect(await check("", 50)).toContain("did not complete within 50 ms");
});
