/**
 * The proxy's end of the way back to a laptop: HTTP/2 over the one connection that the laptop opens to the control port, in which
 * the proxy is the client. Each connection that is to go to the laptop is a stream, with HTTP/2's flow control and ends.
 */
import { type ClientHttp2Session, connect } from "node:http2";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";

export interface Tunnel {
  server: Server;
  /** A connection to the process on the laptop that the path means; undefined where there is none, or it does not answer. */
  dial(path?: string): Promise<Duplex | undefined>;
  /** Milliseconds since a laptop was there; 0 while one is. */
  idleMs(): number;
}

const pingMs = 2000;
/** Without a sign of life for this long, the laptop is gone. */
const deadMs = 6000;
const dialMs = 3000;
const windowSize = 1024 * 1024;
const maxGreeting = 256;

/** Whoever has the token is the laptop; a later one takes the place of an earlier one. */
export function openTunnel(token: string): Tunnel {
  let session: ClientHttp2Session | undefined;
  let lastSeen = performance.now();
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    greet(socket, token, () => {
      session?.destroy();
      const own = connect("http://laptop", {
        createConnection: () => socket,
        settings: { initialWindowSize: windowSize, enablePush: false },
      });
      session = own;
      keepAlive(own);
      own.on("error", () => own.destroy());
      own.once("close", () => {
        if (session === own) session = undefined;
        lastSeen = performance.now();
      });
    });
  });
  return {
    server,
    dial: (path = "/") => dial(session, path),
    idleMs: () => (session === undefined ? performance.now() - lastSeen : 0),
  };
}

/** The first line is the token; what follows belongs to HTTP/2. */
function greet(socket: Socket, token: string, accept: () => void): void {
  let said = Buffer.alloc(0);
  const onReadable = () => {
    for (let byte; (byte = socket.read(1) as Buffer | null) !== null;) {
      said = Buffer.concat([said, byte]);
      if (byte[0] !== 0x0a) continue;
      socket.off("readable", onReadable);
      if (said.toString("utf8").trimEnd() === token) {
        // Only now does it know that it is heard.
        socket.write("ok\n");
        accept();
      } else socket.destroy();
      return;
    }
    if (said.length > maxGreeting) socket.destroy();
  };
  socket.on("readable", onReadable);
}

function keepAlive(session: ClientHttp2Session): void {
  let heard = performance.now();
  const timer = setInterval(() => {
    if (performance.now() - heard > deadMs) session.destroy();
    else {
      session.ping(() => {
        heard = performance.now();
      });
    }
  }, pingMs);
  session.once("close", () => clearInterval(timer));
}

function dial(session: ClientHttp2Session | undefined, path: string): Promise<Duplex | undefined> {
  if (session === undefined || session.destroyed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const stream = session.request({ ":method": "POST", ":path": path }, { endStream: false });
    const timer = setTimeout(() => give(undefined), dialMs);
    const give = (answer: Duplex | undefined) => {
      clearTimeout(timer);
      if (answer === undefined) stream.destroy();
      resolve(answer);
    };
    stream.once("error", () => give(undefined));
    stream.once("close", () => give(undefined));
    stream.once("response", (headers) => give(headers[":status"] === 200 ? stream : undefined));
  });
}
