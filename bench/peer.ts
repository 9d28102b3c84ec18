/**
 * The least that a server can do for a create, as a process of its own: TLS with the same keys, the body parsed, an answer
 * of the same shape. Arguments: the folder of the keys. It says its port on standard output and ends with standard input.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

const folder = process.argv[2] ?? "";
const file = (name: string): Buffer => readFileSync(join(folder, name));
const server = createServer(
  { key: file("apiserver.key"), cert: file("apiserver.crt"), ca: file("ca.crt"), requestCert: true },
  (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      const text = JSON.stringify(JSON.parse(Buffer.concat(chunks).toString()));
      outgoing.writeHead(201, { "content-type": "application/json", "content-length": text.length });
      outgoing.end(text);
    });
  },
);
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();
