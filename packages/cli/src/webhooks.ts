/** How commands show webhooks: by the whole address that a forge sends to, and a secret once. */
import type { Client } from "@kws/api/client";

export function withEndpoint<T extends { path: string }>(
  client: Client,
  { path, ...webhook }: T,
): Omit<T, "path"> & { endpoint: string } {
  return { ...webhook, endpoint: `${client.url}${path}` };
}

export function toldSecret({ endpoint, secret }: { endpoint: string; secret: string }): string {
  return `Address: ${endpoint}\nSecret:  ${secret}\n\nGive both to the forge; the secret is not shown again.`;
}
