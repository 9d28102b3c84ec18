/** An API server in a temporary folder, for tests. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silent } from "@kws/base/logger";
import { KubeClient } from "@kws/kube/client";
import { serviceAccounts } from "@kws/kube/resources";
import { startApiServer, type ApiServer, type ApiServerOptions } from "../server.ts";

export interface TestServer {
  server: ApiServer;
  client: KubeClient;
  dataDir: string;
  /** Ends it and removes the folder. */
  close(): Promise<void>;
}

export async function startTestServer(options: Partial<ApiServerOptions> = {}): Promise<TestServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "apiserver-"));
  const server = await startApiServer({
    dataDir,
    logger: silent,
    now: Date.now,
    streams: () => undefined,
    ...options,
  });
  return {
    server,
    client: new KubeClient(server.transport()),
    dataDir,
    async close() {
      await server.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

/** Pods are refused in a namespace without one; where no controllers run, nobody else makes it. Its pods get no token. */
export async function createServiceAccount(client: KubeClient, namespace: string): Promise<void> {
  await client.create(serviceAccounts, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default", namespace },
    automountServiceAccountToken: false,
  });
}
