/**
 * What runs in the cluster while a service is intercepted: in the place of the service's pods, it sends connections to the laptop
 * while one is there and to the pods otherwise. Where none has been there for long, it gives the Service back and removes
 * itself. It is run by the Node of any image, and imports nothing else.
 */
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { createServer, type Socket } from "node:net";
import { httpRouter, type HeaderMatch, type Routes } from "./http.ts";
import { ownersPatch, type PatchOperation, restorePatch, type ServiceObject } from "./restore.ts";
import { dialTcp, splice } from "./splice.ts";
import { openTunnel } from "./tunnel.ts";

export interface ProxyConfig {
  token: string;
  control: number;
  ports: {
    /** That the proxy listens on. */
    listen: number;
    /** Of the Service that leads to the pods. */
    original: number;
    intercepted: boolean;
  }[];
  /** The host of that Service. */
  host: string;
  /** All connections where there is none. */
  headers: HeaderMatch;
  /** How long nobody may be there. */
  graceMs: number;
  /** Paths of the API server: the Service to give back, and what to delete so that all of the intercept goes. */
  service: string;
  own: string;
}

const config = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as ProxyConfig;
const tunnel = openTunnel(config.token);
tunnel.server.listen(config.control);
for (const { listen, original, intercepted } of config.ports) {
  const routes: Routes = {
    laptop: () => (intercepted ? tunnel.dial() : Promise.resolve(undefined)),
    original: () => dialTcp(config.host, original),
  };
  const handle =
    intercepted && Object.keys(config.headers).length > 0 ? httpRouter(config.headers, routes) : raw(routes);
  createServer({ allowHalfOpen: true }, (client) => {
    client.on("error", () => client.destroy());
    handle(client);
  }).listen(listen);
}

function raw(routes: Routes): (client: Socket) => void {
  return (client) => {
    client.pause();
    void (async () => {
      try {
        splice(client, (await routes.laptop()) ?? (await routes.original()));
      } catch {
        client.destroy();
      }
    })();
  };
}

const checkMs = 5000;
let restoring = false;
setInterval(() => {
  if (tunnel.idleMs() < config.graceMs || restoring) return;
  restoring = true;
  restore()
    .catch((error: unknown) => console.error(String(error)))
    .finally(() => {
      restoring = false;
    });
}, checkMs);

async function restore(): Promise<void> {
  const before = await api<ServiceObject>("GET", config.service);
  const patch = restorePatch(before);
  if (patch !== undefined) {
    const changed = await api<ServiceObject>("PATCH", config.service, patch);
    await api("PATCH", config.service, ownersPatch(before, changed)).catch(() => undefined);
  }
  await api("DELETE", config.own);
}

const account = "/var/run/secrets/kubernetes.io/serviceaccount";

function api<T>(method: string, path: string, patch?: PatchOperation[]): Promise<T> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: process.env["KUBERNETES_SERVICE_HOST"],
      port: process.env["KUBERNETES_SERVICE_PORT"],
      method,
      path: `${path}${method === "PATCH" ? "?fieldManager=kws-intercept" : ""}`,
      ca: readFileSync(`${account}/ca.crt`),
      headers: {
        authorization: `Bearer ${readFileSync(`${account}/token`, "utf8").trim()}`,
        accept: "application/json",
        ...(patch === undefined ? {} : { "content-type": "application/json-patch+json" }),
      },
    });
    outgoing.once("error", reject);
    outgoing.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("error", reject);
      response.once("end", () => {
        if ((response.statusCode ?? 500) > 299) reject(new Error(`${method} ${path}: ${text}`));
        else resolve(JSON.parse(text) as T);
      });
    });
    outgoing.end(patch === undefined ? undefined : JSON.stringify(patch));
  });
}
