/**
 * The API server as a whole: storage, keys, listeners, and the transport for the daemon's own parts. Everything else in this
 * folder is a function of the context that is put together here.
 */
import { chmod, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "@kws/base/logger";
import type { Transport } from "@kws/kube/transport";
import type { NodeStreams } from "../kubelet/streams.ts";
import type { ObjectRows } from "../storage/database.ts";
import { Store } from "../storage/store.ts";
import type { StaticToken } from "./authentication.ts";
import { bootstrap } from "./bootstrap.ts";
import type { ServerContext } from "./context.ts";
import { serveCustomResources } from "./customresources.ts";
import { createHandler } from "./handler.ts";
import { inProcessTransport } from "./inprocess.ts";
import { adminKubeconfig } from "./kubeconfig.ts";
import { createListener, listen } from "./listener.ts";
import { loadPki } from "./pki.ts";
import { rbacAuthorizer } from "./rbac.ts";
import { Registry, tableOf } from "./registry.ts";
import type { User } from "./request.ts";
import { createUpgrader } from "./streaming/upgrade.ts";
import { certificateSigner, type CertificateSigner } from "./signing.ts";
import { tokenIssuer } from "./tokens.ts";

export interface ApiServerOptions {
  /** Storage, keys and the socket; made where it is missing. */
  dataDir: string;
  /** Where the Unix socket is to be instead. */
  socketPath?: string;
  /** On 127.0.0.1; a free one unless given. */
  port?: number;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** The node, asked for logs, exec and so on; may answer undefined until it is there. */
  streams: () => NodeStreams | undefined;
  /** What the Ingress has served, in Prometheus' text, for `/metrics/ingress`; undefined while there is none. */
  ingressMetrics?: () => string | undefined;
  staticTokens?: StaticToken[];
  /** Name of cluster, user and context in the kubeconfig. */
  name?: string;
}

export interface ApiServer {
  port: number;
  url: string;
  /** The same server on a Unix socket: what speaks TLS to it is a client like any other. */
  socketPath: string;
  /** PEM. */
  caCertificate: string;
  sign: CertificateSigner;
  kubeconfig(): string;
  /** Every object, as at this moment. */
  objects(): ObjectRows;
  /** Requests in this process, as the given user; as an administrator unless given. */
  transport(user?: User): Transport;
  close(): Promise<void>;
}

const administrator: User = {
  name: "system:apiserver",
  groups: ["system:masters", "system:authenticated"],
};

/** Pages can be read on for at least this long after their first one; as upstream's compaction. */
const compactionInterval = 5 * 60 * 1000;

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { dataDir, logger, now, streams, ingressMetrics = () => undefined } = options;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const pki = await loadPki(join(dataDir, "pki"), now());
  const store = new Store(join(dataDir, "storage.db"));
  try {
    return await serve(options, store, pki);
  } catch (error) {
    store.close();
    throw error;
  }

  async function serve(
    { port = 0, staticTokens, name = "kws" }: ApiServerOptions,
    store: Store,
    pki: Awaited<ReturnType<typeof loadPki>>,
  ): Promise<ApiServer> {
    const goneListeners = new Map<string, Set<() => void>>();
    const context: ServerContext = {
      store,
      registry: new Registry(),
      authorizer: rbacAuthorizer(store),
      tokens: tokenIssuer(pki.serviceAccountKey, store, now),
      logger,
      now,
      streams,
      ingressMetrics,
      onResourceGone(definition, listener) {
        const table = tableOf(definition);
        const listeners = goneListeners.get(table) ?? new Set();
        goneListeners.set(table, listeners.add(listener));
        return () => listeners.delete(listener);
      },
    };
    const stopCustom = serveCustomResources(context, (crd) => {
      const table = tableOf({ group: crd.spec.group as string, resource: crd.spec.names.plural as string });
      for (const end of Array.from(goneListeners.get(table) ?? [])) end();
    });
    await bootstrap(context);
    const handler = createHandler(context);
    const upgrade = createUpgrader(context);
    const listener = { context, handler, upgrade, pki, staticTokens };
    const tcp = createListener(listener);
    const local = createListener(listener);
    const socketPath = options.socketPath ?? join(dataDir, "apiserver.sock");
    await rm(socketPath, { force: true });
    const actualPort = await listen(tcp.server, { port });
    await listen(local.server, { path: socketPath });
    await chmod(socketPath, 0o600);
    const url = `https://127.0.0.1:${actualPort}`;
    const compaction = setInterval(() => store.compact(), compactionInterval);
    compaction.unref();
    let closed: Promise<void> | undefined;
    return {
      port: actualPort,
      url,
      socketPath,
      caCertificate: pki.caCertificate,
      sign: certificateSigner(pki, now),
      kubeconfig: () => adminKubeconfig(pki, url, name),
      objects: () => store.all(),
      transport: (user = administrator) => inProcessTransport(handler, user),
      close: () =>
        (closed ??= (async () => {
          clearInterval(compaction);
          stopCustom();
          await Promise.all([tcp.close(), local.close()]);
          store.close();
        })()),
    };
  }
}
