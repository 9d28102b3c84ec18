/**
 * The server's side of SPDY/3.1 as far as Kubernetes uses it: streams that the client opens over one connection, each a
 * `Duplex`. Flow control windows are ignored, as the clients' own implementation (moby/spdystream) does.
 * https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
 */
import { Duplex } from "node:stream";
import { HeaderCodec } from "./spdyheaders.ts";

const frameTypes = { synStream: 1, synReply: 2, rstStream: 3, ping: 6, goAway: 7 } as const;
const flagFin = 1;
const frameLimit = 16 * 1024 * 1024 - 1;
/** Data frames are cut to this, so that streams take turns. */
const chunkSize = 32 * 1024;

export interface SpdyStream {
  headers: Map<string, string>;
  /** Ending it sends FIN; the client's FIN ends its readable side. */
  duplex: Duplex;
}

/** Serves a connection until it ends; `onStream` is told of each stream that the client opens. */
export function serveSpdy(connection: Duplex, onStream: (stream: SpdyStream) => void): SpdyConnection {
  return new SpdyConnection(connection, onStream);
}

export class SpdyConnection {
  readonly #connection: Duplex;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #codec = new HeaderCodec();
  readonly #streams = new Map<number, ClientStream>();
  #rest: Buffer = Buffer.alloc(0);
  /** Frames are handled one after the other: header compression has a memory. */
  #handling: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(connection: Duplex, onStream: (stream: SpdyStream) => void) {
    this.#connection = connection;
    this.#onStream = onStream;
    connection.on("data", (chunk: Buffer) => {
      connection.pause();
      this.#handling = this.#handling
        .then(() => this.#receive(chunk))
        .then(() => void connection.resume())
        .catch(() => this.close());
    });
    connection.on("close", () => this.close());
    connection.on("end", () => this.close());
    connection.on("error", () => this.close());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const stream of this.#streams.values()) stream.destroy();
    this.#streams.clear();
    this.#connection.end();
    this.#codec.close();
  }

  /** True where the connection takes more without keeping it in memory. */
  sendData(id: number, bytes: Uint8Array, fin: boolean): boolean {
    if (this.#closed) return true;
    const head = Buffer.alloc(8);
    head.writeUInt32BE(id, 0);
    head.writeUInt32BE(bytes.length, 4);
    head[4] = fin ? flagFin : 0;
    this.#connection.cork();
    this.#connection.write(head);
    const taken = this.#connection.write(bytes);
    this.#connection.uncork();
    return taken;
  }

  onDrain(callback: () => void): void {
    this.#connection.once("drain", callback);
  }

  forget(id: number): void {
    this.#streams.delete(id);
  }

  reset(id: number): void {
    const body = Buffer.alloc(8);
    body.writeUInt32BE(id, 0);
    // CANCEL: the stream is no longer needed.
    body.writeUInt32BE(5, 4);
    this.#sendControl(frameTypes.rstStream, 0, body);
  }

  async #receive(chunk: Buffer): Promise<void> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 8 && !this.#closed) {
      const length = this.#rest.readUIntBE(5, 3);
      if (length > frameLimit) throw new Error("frame is too large");
      if (this.#rest.length < 8 + length) return;
      const head = this.#rest.subarray(0, 8);
      const body = this.#rest.subarray(8, 8 + length);
      this.#rest = this.#rest.subarray(8 + length);
      const flags = head[4] ?? 0;
      if ((head[0] ?? 0) < 0x80) await this.#receiveData(head.readUInt32BE(0), flags, body);
      else await this.#receiveControl(head.readUInt16BE(2), flags, body);
    }
  }

  async #receiveData(id: number, flags: number, body: Buffer): Promise<void> {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (body.length > 0) await stream.receive(Buffer.from(body));
    if ((flags & flagFin) !== 0) await stream.receive(null);
  }

  async #receiveControl(type: number, flags: number, body: Buffer): Promise<void> {
    if (type === frameTypes.synStream) {
      const id = body.readUInt32BE(0) & 0x7fffffff;
      const headers = await this.#codec.decode(body.subarray(10));
      const stream = new ClientStream(this, id);
      this.#streams.set(id, stream);
      const reply = Buffer.alloc(4);
      reply.writeUInt32BE(id);
      this.#sendControl(frameTypes.synReply, 0, Buffer.concat([reply, await this.#codec.encode(new Map())]));
      if ((flags & flagFin) !== 0) await stream.receive(null);
      this.#onStream({ headers, duplex: stream });
    } else if (type === frameTypes.rstStream) {
      const id = body.readUInt32BE(0) & 0x7fffffff;
      this.#streams.get(id)?.destroy();
      this.#streams.delete(id);
    } else if (type === frameTypes.ping) {
      // The client's pings have odd numbers; ours, which are never sent, would have even ones.
      if (body.readUInt32BE(0) % 2 === 1) this.#sendControl(frameTypes.ping, 0, body);
    } else if (type === frameTypes.goAway) {
      this.close();
    }
  }

  #sendControl(type: number, flags: number, body: Uint8Array): void {
    if (this.#closed) return;
    const head = Buffer.alloc(8);
    head.writeUInt16BE(0x8003, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt32BE(body.length, 4);
    head[4] = flags;
    this.#connection.write(Buffer.concat([head, body]));
  }
}

class ClientStream extends Duplex {
  readonly #connection: SpdyConnection;
  readonly #id: number;
  #ready: (() => void) | undefined;

  constructor(connection: SpdyConnection, id: number) {
    super({ allowHalfOpen: true });
    this.#connection = connection;
    this.#id = id;
    this.on("error", () => this.destroy());
  }

  /** Resolves when more may be given. A reader that is gone holds up nobody. */
  receive(chunk: Buffer | null): Promise<void> {
    if (this.destroyed || this.readableEnded || this.push(chunk) || chunk === null) return Promise.resolve();
    return new Promise((resolve) => (this.#ready = resolve));
  }

  override _read(): void {
    this.#ready?.();
    this.#ready = undefined;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    let taken = true;
    for (let at = 0; at < chunk.length; at += chunkSize) {
      taken = this.#connection.sendData(this.#id, chunk.subarray(at, at + chunkSize), false);
    }
    if (taken) done();
    else this.#connection.onDrain(done);
  }

  override _final(done: () => void): void {
    this.#connection.sendData(this.#id, Buffer.alloc(0), true);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#ready?.();
    this.#ready = undefined;
    if (!this.writableFinished) this.#connection.reset(this.#id);
    this.#connection.forget(this.#id);
    done(error);
  }
}
