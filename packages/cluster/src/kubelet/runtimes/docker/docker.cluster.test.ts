import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text as textOf } from "node:stream/consumers";
import { exec } from "@kws/base/exec";
import { silent } from "@kws/base/logger";
import { enginesMissing, startDocker, type Engine } from "@kws/oci/testing/engines";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpackClients, type Clients } from "../../../apiserver/testing/clients.ts";
import { runCluster, type Cluster } from "../../../cluster.ts";
import type { LayerEntry } from "../../../images/layer.ts";
import { openImageStore, type LocalImageStore } from "../../../images/store.ts";
import { containersContract, networkContract, sessionsContract } from "../../testing/runtime-contract.ts";
import { runtimeFolder } from "../../../state.ts";
import { until, withRuntime, type Harness } from "../../testing/runtime-harness.ts";
import { resetDockerRuntime } from "./end.ts";
import { startDockerRuntime } from "./start.ts";

const node = { path: process.execPath, version: process.versions.node };
const missing = enginesMissing(process.env);

describe.skipIf(missing !== undefined)("With a Docker Engine", () => {
  let engine: Engine;
  let socketPath: string;
  let store: LocalImageStore;
  let contractData: string;
  /** The lines that `docker` answers. */
  const docker = async (...args: string[]): Promise<string[]> => {
    const { exitCode, stdout, stderr } = await exec("docker", args, { env: engine.env });
    expect([exitCode, stderr]).toEqual([0, ""]);
    return stdout.split("\n").filter((line) => line !== "");
  };

  beforeAll(async () => {
    engine = await startDocker(process.env);
    socketPath = (engine.env["DOCKER_HOST"] ?? "").replace("unix://", "");
  });
  afterAll(async () => await engine[Symbol.asyncDispose]());

  describe("the docker runtime", () => {
    withRuntime(
      {
        async prepare(fixture) {
          store = await openImageStore(join(fixture.folder, "images"));
          const layer = await store.addLayer(entriesOf(fixture.layer));
          fixture.image = (await store.addImage({ config: {}, layers: [layer], references: [] })).digest;
        },
        start(dataDir) {
          contractData = dataDir;
          return startDockerRuntime({
            name: "tried",
            dataDir,
            socketPath,
            images: store,
            node,
            logger: silent,
          });
        },
      },
      (h) => {
        containersContract(h);
        sessionsContract(h);
        networkContract(h);
        lifetimes(h);
      },
    );

    function lifetimes(h: Harness): void {
      test("a container over its memory limit is killed and says why", async () => {
        const big = ["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"];
        const { code, container } = await h.run(big, { limits: { memory: 32e6, cpu: 64 } });
        expect([code, container.oomKilled]).toEqual([137, true]);
      });

      test("containers and their logs outlive the daemon, and the next one goes on where it ended", async () => {
        const argv = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"];
        await h.runtime.startContainer(h.fixture.container("lasting", "pod", argv));
        await h.runtime.startContainer(h.fixture.container("ends", "pod", ["sleep", "1000"]));
        await until(() => h.logOf("lasting").includes("F 20\n"));
        h.started.disconnect();
        await docker("kill", await nameOf("ends"));
        await docker("wait", await nameOf("ends"));
        await h.connect();
        expect(h.started.adopted).toBe(true);
        const found = (await h.runtime.listContainers()).find(({ id }) => id === "ends");
        expect(found).toMatchObject({ state: "exited", exitCode: 137 });
        const before = h.logOf("lasting").length;
        await until(() => h.logOf("lasting").length > before + 100);
        await h.runtime.stopContainer("lasting", 0);
        const numbers = [...h.logOf("lasting").matchAll(/^stdout F (\d+)$/gm)].map(([, one]) => Number(one));
        expect(numbers).toEqual(numbers.map((_, index) => index + 1));
      });

      test("containers stand still together, and go on", async () => {
        const argv = ["sh", "-c", "while :; do echo tick; sleep 0.02; done"];
        await h.runtime.startContainer(h.fixture.container("ticking", "pod", argv));
        await until(() => h.logOf("ticking").includes("tick"));
        await h.started.freeze();
        const paused = ["ps", "--filter", "status=paused", "--format", "{{.Names}}"];
        expect(await docker(...paused)).toContain(await nameOf("ticking"));
        const running = h.exec("ticking", ["sh", "-c", "exit 4"]);
        await h.started.thaw();
        expect((await running).code).toBe(4);
        expect(await docker(...paused)).toEqual([]);
      });

      test("a helper that is gone is replaced, and connections to pods and Services go on", async () => {
        const { closed } = h.started;
        await docker("rm", "--force", ...(await docker("ps", "-q", "--filter", "label=kws.dev/helper")));
        await closed;
        h.started.disconnect();
        await h.connect();
        expect(h.started.adopted).toBe(false);
        expect((await h.runtime.listPodSandboxes()).map(({ id }) => id)).toContain("pod");
        await h.runtime.stopContainer("ticking", 0);
      });

      test("what is stopped keeps its final states", async () => {
        await h.runtime.startContainer(h.fixture.container("last", "pod", ["sleep", "1000"]));
        await h.started.stop();
        await h.connect();
        expect(await h.runtime.listPodSandboxes()).toEqual([]);
        const left = await h.runtime.listContainers();
        expect(left.find(({ id }) => id === "last")).toMatchObject({ state: "exited", exitCode: 137 });
      });
    }

    async function nameOf(id: string): Promise<string> {
      const names = await docker("ps", "--all", "--format", "{{.Names}}", "--filter", `name=-${id}$`);
      expect(names).toHaveLength(1);
      return names[0] ?? "";
    }
  });

  describe("a cluster in it", () => {
    let folder: string;
    let cluster: Cluster;
    let clients: Clients;
    const run = async (client: "kubectl" | "helm", ...args: string[]): Promise<string> => {
      const { exitCode, stdout, stderr } = await clients[client](args);
      expect(`${exitCode} ${stderr}`).toMatch(/^0 /);
      return stdout;
    };

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "kws-docker-"));
      cluster = await runCluster({
        name: "whole",
        folder,
        runtime: { name: "docker", socketPath },
        imagesFolder: join(folder, "images"),
        ingressPort: 0,
        node,
        env: {},
        logger: silent,
        now: Date.now,
      });
      clients = await unpackClients(cluster.kubeconfig);
    });
    afterAll(async () => {
      await clients.close();
      await rm(folder, { recursive: true, force: true });
    });

    test("a release is installed, reached, looked into and removed", async () => {
      const chart = join(clients.folder, "chart");
      await mkdir(join(chart, "templates"), { recursive: true });
      await writeFile(join(chart, "Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n");
      await writeFile(join(chart, "templates", "web.json"), JSON.stringify(web));
      await run("helm", "install", "web", "chart", "--wait", "--timeout", "30s");
      const ask = `fetch("http://web.default.svc/in").then((r) => r.text()).then(console.log)`;
      expect(await run("kubectl", "exec", "deploy/web", "--", "node", "-e", ask)).toBe("/in of web");
      expect(await run("kubectl", "logs", "deploy/web")).toBe("listening");
      const services = "/api/v1/namespaces/default/services";
      expect(await run("kubectl", "get", "--raw", `${services}/web:http/proxy/proxied`)).toBe(
        "/proxied of web",
      );
      expect(await ingress("web.localhost", "/hosted")).toBe("/hosted of web");
      expect(await forwarded("deploy/web", "/forwarded")).toBe("/forwarded of web");
      const usage = await run("kubectl", "top", "pods", "--no-headers");
      expect(usage).toMatch(/^web-\S+ +\d+m +[1-9]\d*Mi/);
      await run("helm", "uninstall", "web", "--wait", "--timeout", "30s");
    });

    test("a reset leaves nothing in the engine", async () => {
      await cluster.stop("at once");
      const groups = await docker("ps", "--all", "--format", '{{.Label "kws.dev/group"}}');
      expect(groups.length).toBeGreaterThan(0);
      for (const dataDir of [runtimeFolder(folder), contractData])
        await resetDockerRuntime(socketPath, dataDir);
      expect(await docker("ps", "--all", "--quiet")).toEqual([]);
      expect(await docker("images", "--quiet")).toEqual([]);
      expect(await docker("network", "ls", "--quiet", "--filter", "label=kws.dev/cluster")).toEqual([]);
    });

    async function ingress(host: string, path: string): Promise<string> {
      const asked = request({ host: "127.0.0.1", port: cluster.ingressPort, path, headers: { host } });
      asked.end();
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      return textOf(answer);
    }

    async function forwarded(target: string, path: string): Promise<string> {
      const forward = spawn(join(clients.folder, "kubectl"), ["port-forward", target, ":8080"], {
        // Its cache is kept in the home.
        env: { HOME: clients.folder, KUBECONFIG: join(clients.folder, "kubeconfig") },
        stdio: ["ignore", "pipe", "inherit"],
      });
      try {
        const [line] = (await once(createInterface({ input: forward.stdout }), "line")) as [string];
        const port = /127\.0\.0\.1:(\d+) ->/.exec(line)?.[1] ?? "";
        return await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
      } finally {
        const ended = once(forward, "exit");
        forward.kill();
        await ended;
      }
    }
  });
});

const program = `require("http").createServer((q, s) => s.end(q.url + " of " + process.env.NAME)).listen(8080, "127.0.0.1");
require("net").createServer((c) => c.pipe(require("net").connect(8080, "127.0.0.1")).pipe(c)).listen(8081);
process.on("SIGTERM", () => process.exit(0)); console.log("listening");`;
const labels = { app: "web" };
const backend = { service: { name: "web", port: { name: "http" } } };
const web = {
  apiVersion: "v1",
  kind: "List",
  items: [
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web" },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              {
                name: "web",
                image: `kws.local/node:${process.versions.node.split(".")[0]}`,
                command: ["node", "-e", program],
                env: [{ name: "NAME", value: "web" }],
                readinessProbe: { httpGet: { path: "/", port: 8081 }, periodSeconds: 1 },
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web" },
      spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: 8081 }] },
    },
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: { name: "web" },
      spec: {
        rules: [{ host: "web.localhost", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
      },
    },
  ],
};

/** Everything in a folder, as a layer. */
function entriesOf(folder: string): LayerEntry[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry): LayerEntry => {
    const source = join(entry.parentPath, entry.name);
    const path = source.slice(folder.length + 1);
    if (entry.isDirectory()) return { path, type: "directory" };
    if (entry.isSymbolicLink()) return { path, type: "symlink", target: readlinkSync(source) };
    return { path, type: "file", mode: lstatSync(source).mode & 0o777, source };
  });
}
