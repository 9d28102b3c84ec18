/**
 * One call to sops' key service (its `keyservice/keyservice.proto`), which is gRPC on a Unix socket: a unary call is a POST
 * whose body is one message behind a five-byte head, and whose outcome stands in the trailers.
 */
import { connect, constants, type IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { buffer } from "node:stream/consumers";
import type { ExternalKeyType } from "./external.ts";
import type { KeyOf } from "./key.ts";

/** Throws what the service says of a failure. */
export async function callKeyService(
  socket: string,
  method: "Encrypt" | "Decrypt",
  key: KeyOf<ExternalKeyType>,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<Buffer> {
  const session = connect("http://localhost", { createConnection: () => connectSocket(socket) });
  const broken = Promise.withResolvers<never>();
  session.on("error", broken.reject);
  try {
    return await Promise.race([post(), broken.promise]);
  } finally {
    session.destroy();
  }

  async function post(): Promise<Buffer> {
    const stream = session.request(
      {
        [constants.HTTP2_HEADER_METHOD]: "POST",
        [constants.HTTP2_HEADER_PATH]: `/KeyService/${method}`,
        [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc",
        [constants.HTTP2_HEADER_TE]: "trailers",
      },
      { signal },
    );
    // A call that fails before there is an answer has its outcome in the headers.
    const outcome: IncomingHttpHeaders = {};
    stream.on("response", (headers) => Object.assign(outcome, headers));
    stream.on("trailers", (headers) => Object.assign(outcome, headers));
    stream.end(frame(Buffer.concat([field(1, keyMessage(key)), field(2, bytes)])));
    const body = await buffer(stream);
    if (outcome["grpc-status"] !== "0") {
      throw new Error(percentDecoded(String(outcome["grpc-message"] ?? "the call broke off")));
    }
    return firstField(body.subarray(frameHead));
  }
}

/** Messages may be malformed, which `decodeURIComponent` would not bear. */
function percentDecoded(message: string): string {
  const bytes = message.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCodePoint(parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1").toString();
}

const frameHead = 5;

/** Not compressed, and its length. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(frameHead);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function keyMessage(key: KeyOf<ExternalKeyType>): Buffer {
  switch (key.type) {
    case "gcp_kms":
      return field(3, field(1, key.resource_id));
    case "azure_kv":
      return field(4, Buffer.concat([field(1, key.vault_url), field(2, key.name), field(3, key.version)]));
    case "hc_vault":
      return field(
        5,
        Buffer.concat([field(1, key.vault_address), field(2, key.engine_path), field(3, key.key_name)]),
      );
    case "hckms":
      return field(7, field(1, key.key_id));
  }
}

/** A protobuf field whose value has a length: text, bytes, or a message. */
function field(number: number, value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...varint(bytes.length)]), bytes]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** The value of field 1, the only one that answers have. */
function firstField(message: Buffer): Buffer {
  if (message[0] !== ((1 << 3) | 2)) throw new Error("the answer could not be read");
  let length = 0;
  let at = 1;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = message[at++] ?? 0;
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  if (message.length - at < length) throw new Error("the answer is cut off");
  return message.subarray(at, at + length);
}
