/** The gRPC health check (https://github.com/grpc/grpc/blob/master/doc/health-checking.md), small enough to speak by hand. */
import type { Duplex } from "node:stream";

/** Undefined when the service says that it is serving. */
export async function checkHealth(
  connection: Duplex,
  authority: string,
  service: string,
  timeoutMs: number,
): Promise<string | undefined> {
  const { connect } = await import("node:http2");
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const session = connect(`http://${authority}`, { createConnection: () => connection });
  session.on("error", (error: Error) => resolve(error.message));
  const timer = setTimeout(
    () => resolve(`timeout: health rpc did not complete within ${timeoutMs} ms`),
    timeoutMs,
  );
  const stream = session.request({
    ":method": "POST",
    ":path": "/grpc.health.v1.Health/Check",
    "content-type": "application/grpc",
    te: "trailers",
  });
  const chunks: Buffer[] = [];
  let grpcStatus: string | undefined;
  const note = (headers: Record<string, unknown>) => {
    const status = headers["grpc-status"];
    if (typeof status === "string") grpcStatus = status;
  };
  stream.on("response", note);
  stream.on("trailers", note);
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", (error: Error) => resolve(error.message));
  stream.on("end", () => {
    if (grpcStatus !== undefined && grpcStatus !== "0") resolve(`health rpc failed with code ${grpcStatus}`);
    // A 5-byte frame header, then HealthCheckResponse: field 1, varint; 1 is SERVING.
    const message = Buffer.concat(chunks).subarray(5);
    const serving = message[0] === 0x08 && message[1] === 1;
    resolve(serving ? undefined : 'service unhealthy (responded with "NOT_SERVING")');
  });
  const name = Buffer.from(service);
  const body = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(body.length, 1);
  stream.end(Buffer.concat([frame, body]));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    session.destroy();
    connection.destroy();
  }
}
