/** Synchronisation with a container, as it is anywhere: through `kubectl exec`. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { exec } from "@kws/base/exec";
import { tempDir, type TempDir } from "@kws/base/tempdir";
import { pods } from "@kws/kube/resources";
import { embeddedProvider } from "../../providers/embedded.ts";
import { connect, type Connection, type Provider } from "../../providers/provider.ts";
import { locateTool } from "../../tools/locate.ts";
import { containerRemote, type PodTarget } from "./remote.ts";
import { startSync, type SyncBatch, type SyncProblem } from "./sync.ts";

let folder: TempDir;
let provider: Provider;
let connection: Connection;
let target: PodTarget;
const batches: SyncBatch[] = [];
const problems: SyncProblem[] = [];
const name = "web";
/** The content of the image, for a container that begins anew. */
const image =
  "mkdir -p /tmp/app && echo old > /tmp/app/server.js && touch -d @0 /tmp/app/server.js && exec sleep 1000";
const eventually = { timeout: 20_000, interval: 100 };

beforeAll(async () => {
  folder = await tempDir("kws-sync-cluster");
  // kubectl keeps a cache in the home.
  const env = { PATH: process.env["PATH"], HOME: folder.path };
  provider = embeddedProvider({ name: "sync", home: join(folder.path, "home"), env, ingressPort: 0 });
  await provider.start({});
  connection = await connect(provider);
  const kubectl = await locateTool("kubectl", { env: process.env, cache: join(folder.path, "cache") });
  const kubeconfig = await provider.kubeconfig();
  target = {
    kubeconfig,
    namespace: "default",
    pod: () => name,
    container: "main",
    kubectl: kubectl.path,
    env,
  };
  await connection.client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: {
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image: "kws.local/node:24",
          command: ["sh", "-c", image],
          securityContext: { runAsUser: 1000 },
        },
      ],
    },
  });
});
afterAll(async () => {
  connection.close();
  await provider.stop();
  await folder[Symbol.asyncDispose]();
});

async function inContainer(script: string): Promise<string> {
  const { kubeconfig, kubectl, env } = target;
  const args = ["--kubeconfig", kubeconfig.path, "exec", name, "--", "sh", "-c", script];
  const result = await exec(kubectl, args, { env });
  return result.stdout;
}

test("a folder and a container's stay the same, also over a restart of the container", async () => {
  const local = join(folder.path, "app");
  await mkdir(join(local, "src/empty"), { recursive: true });
  await writeFile(join(local, "server.js"), "new\n", { mode: 0o755 });
  await writeFile(join(local, "large"), Buffer.alloc(5_000_000, "large"));
  const sync = await startSync({
    local,
    folder: "/tmp/app",
    direction: "both",
    remote: containerRemote(target),
    onBatch: (batch) => batches.push(batch),
    onProblem: (problem) => problems.push(problem),
  });
  try {
    expect(await sync.ready).toMatchObject({ paths: ["large", "server.js", "src", "src/empty"] });
    expect(
      await inContainer("cd /tmp/app && cat server.js && wc -c < large && ls -d src/empty && id -u"),
    ).toBe("new\n5000000\nsrc/empty\n1000\n");
    await writeFile(join(local, "src/a.js"), "1");
    await rm(join(local, "large"));
    await sync.flush();
    expect(await inContainer("cd /tmp/app && find . -type f | sort && cat src/a.js")).toBe(
      "./server.js\n./src/a.js\n1",
    );
    await inContainer("cd /tmp/app && echo made there > src/generated && rm src/a.js");
    await vi.waitFor(async () => {
      await sync.flush();
      expect(await readFile(join(local, "src/generated"), "utf8")).toBe("made there\n");
      await expect(readFile(join(local, "src/a.js"))).rejects.toThrow("ENOENT");
    }, eventually);
    // The container ends and begins with its image again.
    await inContainer("kill -9 $(cat /proc/[0-9]*/stat | sed -n 's/^\\([0-9]*\\) (sleep).*/\\1/p')");
    await writeFile(join(local, "server.js"), "newer\n");
    await vi.waitFor(async () => {
      await sync.flush();
      expect(await inContainer("cd /tmp/app && cat server.js src/generated")).toBe("newer\nmade there\n");
    }, eventually);
    expect(await readFile(join(local, "server.js"), "utf8")).toBe("newer\n");
    expect(sync.status()).toMatchObject({ state: "watching", pending: 0, conflicts: [], problems: [] });
  } finally {
    await sync.stop();
  }
  await vi.waitFor(async () => {
    expect(await inContainer("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).not.toContain("kws-sync");
  }, eventually);
});

test("a folder that the container's user may not write to says what to do", async () => {
  const local = join(folder.path, "app");
  const start = async (): Promise<unknown> => {
    const sync = await startSync({
      local,
      folder: "/usr/app",
      direction: "up",
      remote: containerRemote(target),
    });
    try {
      return await sync.ready;
    } finally {
      await sync.stop();
    }
  };
  await expect(start()).rejects.toMatchObject({
    code: "permission",
    message: expect.stringContaining("/usr/app"),
  });
});
