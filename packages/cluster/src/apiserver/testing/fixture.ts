/** What the tests of the API server share: one server a file, one namespace a test, and the objects they write. */
import { request } from "node:https";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import type { KubeClient } from "@kws/kube/client";
import type { KubeObject } from "@kws/kube/object";
import { namespaces, pods, serviceAccounts } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import type { ApiServer, ApiServerOptions } from "../server.ts";
import { createServiceAccount, startTestServer, type TestServer } from "./server.ts";

export interface ServerFixture {
  readonly server: ApiServer;
  readonly client: KubeClient;
  readonly dataDir: string;
  /** A new one for each test. */
  readonly namespace: string;
}

/** To be called at the top of a test file. */
export function serverFixture(options: Partial<ApiServerOptions> = {}): ServerFixture {
  let running: TestServer;
  let namespace = "";
  let count = 0;
  beforeAll(async () => {
    running = await startTestServer(options);
  });
  afterAll(() => running.close());
  beforeEach(async () => {
    namespace = `test-${count++}`;
    const metadata = { name: namespace };
    await running.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata });
  });
  return {
    get server() {
      return running.server;
    },
    get client() {
      return running.client;
    },
    get dataDir() {
      return running.dataDir;
    },
    get namespace() {
      return namespace;
    },
  };
}

export function configMap(namespace: string, name: string, labels?: Record<string, string>): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels }, data: { a: "b" } };
}

/** Makes the namespace's ServiceAccount too, where it has none. */
export async function createPod(
  { client, namespace }: ServerFixture,
  name: string,
  extra: object = {},
): Promise<KubeObject> {
  if ((await client.find(serviceAccounts, "default", namespace)) === undefined) {
    await createServiceAccount(client, namespace);
  }
  return client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    spec: { containers: [{ name: "c", image: "i" }], ...extra },
  });
}

/** The error with which the server refuses. */
export async function refusal(work: Promise<unknown>): Promise<ApiError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

/** A GET over TLS, with no other credentials than the headers'. */
export function call(
  server: ApiServer,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${server.url}${path}`, { ca: server.caCertificate, headers }, (answer) => {
      let body = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body }));
    });
    outgoing.on("error", reject).end();
  });
}
