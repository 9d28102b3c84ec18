import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { tempDir } from "@kws/base/tempdir";
import { expect, onTestFinished, test } from "vitest";
import { KubeClient } from "./client.ts";
import { httpsTransport } from "./https.ts";
import { accessOf, findContext, kubeconfigPaths, readKubeconfig } from "./kubeconfig.ts";
import { pods } from "./resources.ts";

async function serve(answer: (path: string, authorization: string) => unknown): Promise<string> {
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(answer(request.url ?? "", request.headers.authorization ?? "")));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const config = (server: string, name: string, user: object) =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name: "c", cluster: { server } }],
    users: [{ name: `u-${name}`, user }],
    contexts: [{ name, context: { cluster: "c", user: `u-${name}`, namespace: "team" } }],
  });

test("a context's token and path prefix reach the server", async () => {
  const seen: string[] = [];
  const server = await serve((path, authorization) => {
    seen.push(path, authorization);
    return { apiVersion: "v1", kind: "PodList", metadata: { resourceVersion: "1" }, items: [] };
  });
  await using dir = await tempDir("kws-kubeconfig");
  const path = join(dir.path, "config");
  await writeFile(path, config(`${server}/prefix/`, "one", { token: "s3cret" }));
  const transport = httpsTransport(await accessOf(await readKubeconfig([path])));
  onTestFinished(() => transport.close());
  expect((await new KubeClient(transport).list(pods, "team")).items).toEqual([]);
  expect(seen).toEqual(["/prefix/api/v1/namespaces/team/pods", "Bearer s3cret"]);
});

test("the first of several files wins, and a missing one is passed over", async () => {
  await using dir = await tempDir("kws-kubeconfig");
  const [first, second] = [join(dir.path, "first"), join(dir.path, "second")];
  await writeFile(first, config("http://127.0.0.1:1", "one", {}));
  await writeFile(second, config("http://127.0.0.1:2", "two", {}));
  const merged = await readKubeconfig([join(dir.path, "none"), first, second]);
  expect(merged.currentContext).toBe("one");
  expect(merged.contexts.map((context) => context.name)).toEqual(["one", "two"]);
  expect((await accessOf(merged, "two")).server).toBe("http://127.0.0.1:1");
});

test("an unknown context is refused with the ones that exist", async () => {
  await using dir = await tempDir("kws-kubeconfig");
  const path = join(dir.path, "config");
  await writeFile(path, config("http://127.0.0.1:1", "one", {}));
  const loaded = await readKubeconfig([path]);
  expect(() => findContext(loaded, "prod")).toThrow(/no context "prod"/);
});

test("a server that does not answer is named, with what to do", async () => {
  const server = await serve(() => ({}));
  const port = Number(new URL(server).port);
  const access = { server: `http://127.0.0.1:${port === 1 ? 2 : 1}`, headers: async () => ({}) };
  const client = new KubeClient(httpsTransport(access));
  await expect(client.list(pods)).rejects.toMatchObject({ code: "tool-missing", message: /does not answer/ });
});

test("KUBECONFIG names files, and --kubeconfig beats it", () => {
  expect(kubeconfigPaths(undefined, { KUBECONFIG: "/a:/b" }, "/home/u")).toEqual(["/a", "/b"]);
  expect(kubeconfigPaths("/c", { KUBECONFIG: "/a" }, "/home/u")).toEqual(["/c"]);
  expect(kubeconfigPaths(undefined, {}, "/home/u")).toEqual(["/home/u/.kube/config"]);
});
