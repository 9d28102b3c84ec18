import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { type TempDir, tempDir } from "@kws/base/tempdir";
import { sha256 } from "@kws/oci/descriptor";
import { openLayout } from "@kws/oci/layout";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ClusterTool, saveKubeconfig, type ToolCluster } from "./cluster-tool.ts";
import type { Builder, Provider } from "./provider.ts";
import { toolProvider, type ToolProviderOptions } from "./tool-provider.ts";

let dir: TempDir;
/** What the tool was asked to do. */
let done: string[];
let clusters: ToolCluster[];
beforeEach(async () => {
  dir = await tempDir("kws-test");
  done = [];
  clusters = [];
});
afterEach(() => dir[Symbol.asyncDispose]());

const record = () => join(dir.path, "kws", "cluster.json");

/** A tool without processes, whose clusters never answer. */
function tool(own: Partial<ClusterTool> = {}): ClusterTool {
  return {
    name: "k3d",
    servesIngress: true,
    version: async () => "1",
    list: async () => clusters,
    async create(name) {
      done.push("create");
      clusters = [{ name, state: "running" }];
    },
    start: async () => void done.push("start"),
    stop: async () => void done.push("stop"),
    remove: async () => void done.push("remove"),
    kubeconfig: () => saveKubeconfig(join(dir.path, "kws", "kubeconfig"), kubeconfig),
    nodes: async () => [{ kind: "docker", node: "one", command: ["docker"] }],
    ...own,
  };
}

const kubeconfig = `current-context: kws
clusters: [{ name: kws, cluster: { server: "https://127.0.0.1:1" } }]
users: [{ name: kws, user: {} }]
contexts: [{ name: kws, context: { cluster: kws, user: kws } }]
`;

function provider(own?: Partial<ClusterTool>, options: Partial<ToolProviderOptions> = {}): Provider {
  const unused = () => Promise.reject(new Error("not part of this test"));
  const builder: Builder = {
    checkBuild: unused,
    buildImage: unused,
    imageRepository: async (name) => (await openLayout(join(dir.path, "images"))).repository(name),
  };
  return toolProvider(tool(own), {
    name: "kws",
    named: false,
    folder: join(dir.path, "kws"),
    builder,
    env: {},
    readyTimeoutMs: 0,
    patienceMs: 0,
    ...options,
  });
}

async function madeByKws(): Promise<void> {
  await mkdir(dirname(record()), { recursive: true });
  await writeFile(record(), "{}");
}

test("a cluster that could not be made leaves nothing behind", async () => {
  const create = () => Promise.reject(new UserError("no room"));
  await expect(provider({ create }).start({})).rejects.toThrow("no room");
  expect(existsSync(dirname(record()))).toBe(false);
});

test("one that was left half made is known as kws's own, and can be reset", async () => {
  const create = async () => {
    clusters = [{ name: "kws", state: "running" }];
    throw new UserError("interrupted");
  };
  await expect(provider({ create }).start({})).rejects.toThrow("interrupted");
  expect(await provider().status()).toMatchObject({ managed: true });
  expect(await provider().reset({ foreign: false })).toBe(true);
  expect(done).toEqual(["remove"]);
});

test("a port that was asked for and is taken is an error, before anything is made", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { port: number };
  try {
    await expect(provider().start({ ingressPort: port })).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining(String(port)),
    });
    expect(done).toEqual([]);
  } finally {
    server.close();
  }
});

test("a cluster of the default name that kws did not make is left alone, unless it is named", async () => {
  clusters = [{ name: "kws", state: "stopped" }];
  await expect(provider().start({})).rejects.toMatchObject({
    code: "conflict",
    fix: expect.stringContaining("--cluster kws"),
  });
  await expect(provider().reset({ foreign: false })).rejects.toMatchObject({ code: "permission" });
  expect(done).toEqual([]);
  await expect(provider({}, { named: true }).start({})).rejects.toMatchObject({ code: "timeout" });
  expect(done).toEqual(["start"]);
});

test("where a restart does not help, the error says how to make the cluster anew", async () => {
  await madeByKws();
  clusters = [{ name: "kws", state: "running" }];
  await expect(provider().start({})).rejects.toMatchObject({
    code: "timeout",
    fix: expect.stringMatching(/kws cluster reset kws --provider k3d.*loses its data/),
  });
  expect(done).toEqual(["stop", "start"]);
  const start = () => Promise.reject(new UserError("node is gone"));
  await expect(provider({ start }).start({})).rejects.toMatchObject({
    message: "node is gone",
    fix: expect.stringContaining("kws cluster reset kws"),
  });
});

test("a cluster that may not be asked is not restarted for that", async () => {
  await madeByKws();
  clusters = [{ name: "kws", state: "running" }];
  const denied = () => Promise.reject(new UserError("not in the group", { code: "permission" }));
  await expect(provider({ kubeconfig: denied }).start({})).rejects.toMatchObject({ code: "permission" });
  expect(done).toEqual([]);
});

test("an image that is wanted by its digest is refused where nodes know tags alone", async () => {
  const repository = await provider().imageRepository("kws.local/shop/orders");
  expect(await repository.resolve(sha256("")), "a push finds out what the nodes have").toBeUndefined();
  await expect(repository.pushManifest(Buffer.from("{}"), "", {})).rejects.toMatchObject({
    code: "config",
    fix: expect.stringContaining("kws publish"),
  });
});

test("a snapshot is refused with the tool's own reason", () => {
  const refusal = (own?: Partial<ClusterTool>) => () => provider(own).snapshots();
  expect(refusal({ noSnapshots: "its data is elsewhere" })).toThrow(
    "clusters of k3d have no snapshots: its data is elsewhere",
  );
  expect(refusal()).toThrow("the tool has no command");
});
