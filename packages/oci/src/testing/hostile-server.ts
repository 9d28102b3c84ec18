/** Registries in the test's own process that do what the test says, and what its client asks of them. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";
import type { CredentialSource } from "../credentials.ts";
import { sha256 } from "../descriptor.ts";
import { openRegistries } from "../registry.ts";
import type { Repository } from "../repository.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A server until the end of the test, `127.0.0.1:PORT`. A handler that rejects breaks the connection. */
export async function listen(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const handled = async () => handler(request, response);
    handled().catch(() => response.destroy());
  }).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** `team/orders` of a registry that answers so. */
export async function open(handler: Handler, credentials?: CredentialSource): Promise<Repository> {
  const registries = openRegistries({ env: {}, retryDelayMs: 1, ...(credentials && { credentials }) });
  return registries.repository(`${await listen(handler)}/team/orders`);
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export function json(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

export const content = randomBytes(2 ** 20);
export const blob = { mediaType: "application/octet-stream", digest: sha256(content), size: content.length };

export async function read(repository: Repository, signal?: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository.blob(blob, { signal })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Pushes the blob in pieces, so that a server can break off between them. */
export function push(repository: Repository): Promise<void> {
  return repository.pushBlob(blob, async function* () {
    for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
  });
}
