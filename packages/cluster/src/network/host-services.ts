/**
 * The host's side of `host.kws.internal`: which TCP ports the host serves on its loopback address, and a Unix socket through
 * which they are reached from inside the cluster's network. A connection begins with two bytes, the port.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { rm } from "node:fs/promises";
import { connect, createServer, type LookupFunction, type Socket } from "node:net";
import { isErrno } from "@kws/base/errors";
import { joinSockets } from "./proxy.ts";

/** How soon a program that begins to listen can be reached. */
const lookEveryMs = 1000;
/**
 * To list who listens, the kernel walks its table of all connections, which takes milliseconds even where there are none. So
 * that is done when the numbers of sockets have changed, and, since one that goes and one that comes leave them equal, at every
 * so many looks.
 */
const listEveryLooks = 10;

export interface HostServices {
  close(): void;
}

export interface HostServicesOptions {
  /** Where to listen; a file that is there is replaced. */
  socketPath: string;
  /** Told of the ports now, and whenever they change. */
  onPorts: (ports: number[]) => void;
}

export async function shareHostServices({ socketPath, onPorts }: HostServicesOptions): Promise<HostServices> {
  await rm(socketPath, { force: true });
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, serve);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    // For the agent, whose user may be another one; the folder is closed to all others.
    server.listen({ path: socketPath, writableAll: true }, resolve);
  });
  let known = "";
  let counted = "";
  let looks = 0;
  const look = () => {
    const counts = socketCounts();
    if (counts === counted && ++looks < listEveryLooks) return;
    counted = counts;
    looks = 0;
    const ports = [...listeningPorts()].toSorted((a, b) => a - b);
    if (ports.join() === known) return;
    known = ports.join();
    onPorts(ports);
  };
  look();
  const timer = setInterval(look, lookEveryMs);
  return {
    close() {
      clearInterval(timer);
      server.close();
    },
  };
}

/** Both addresses, the second where nothing listens at the first, whatever the machine's own list of names says. */
const lookup: LookupFunction = (_name, _options, done) =>
  done(null, [
    { address: "127.0.0.1", family: 4 },
    { address: "::1", family: 6 },
  ]);

function serve(client: Socket): void {
  client.on("error", () => client.destroy());
  client.once("readable", () => {
    const head = client.read(2) as Buffer | null;
    if (head === null) {
      client.destroy();
      return;
    }
    joinSockets(
      client,
      connect({ host: "localhost", port: head.readUInt16BE(0), lookup, allowHalfOpen: true }),
    );
  });
}

/** As /proc/net/tcp writes 0.0.0.0, 127.0.0.1, ::, ::1 and 127.0.0.1 in an IPv6 socket, on a little-endian machine. */
const loopback = new Set([
  "00000000",
  "0100007F",
  "0".repeat(32),
  `${"0".repeat(24)}01000000`,
  `${"0".repeat(16)}FFFF00000100007F`,
]);

function listeningPorts(): Set<number> {
  const ports = new Set<number>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of listeners(table)) {
      const [address = "", port = ""] = (line.trim().split(/\s+/)[1] ?? "").split(":");
      if (loopback.has(address)) ports.add(Number.parseInt(port, 16));
    }
  }
  return ports;
}

/** Numbers of TCP sockets by their state, which the kernel keeps at hand. */
function socketCounts(): string {
  return ["/proc/net/sockstat", "/proc/net/sockstat6"]
    .flatMap((file) => readIfThere(file).split("\n"))
    .filter((line) => line.startsWith("TCP"))
    .join();
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return ""; // A kernel without IPv6.
    throw error;
  }
}

const listening = "0A";

/** The lines of sockets that listen, which the kernel writes before those of connections, of which there may be many. */
function listeners(table: string): string[] {
  const found: string[] = [];
  let file: number;
  try {
    file = openSync(table, "r");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return found; // A kernel without IPv6.
    throw error;
  }
  try {
    const chunk = Buffer.alloc(64 * 1024);
    let rest = "";
    for (let first = true; ; first = false) {
      const size = readSync(file, chunk);
      if (size === 0) return found;
      const lines = (rest + chunk.toString("latin1", 0, size)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of first ? lines.slice(1) : lines) {
        if (line.trim().split(/\s+/)[3] !== listening) return found;
        found.push(line);
      }
    }
  } finally {
    closeSync(file);
  }
}
