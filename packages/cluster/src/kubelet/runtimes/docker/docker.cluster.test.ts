import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
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
import { until, withRuntime, type Harness } from "../../testing/runtime-harness.ts";
import { resetDockerRuntime } from "./end.ts";
import { startDockerRuntime } from "./start.ts";

const node = { path: process.execPath, version: process.versions.node };
const missing = enginesMissing(process.env);

describe.skipIf(missing !== undefined)("With a Docker Engine", () => {
  let engine: Engine;
  let socketPath: string;
  let store: LocalImageStore;
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
        start: (dataDir) =>
          startDockerRuntime({ name: "tried", dataDir, socketPath, images: store, node, logger: silent }),
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

      test("what is stopped keeps its final states, and a reset leaves nothing", async () => {
        await h.runtime.startContainer(h.fixture.container("last", "pod", ["sleep", "1000"]));
        await h.started.stop();
        await h.connect();
        expect(await h.runtime.listPodSandboxes()).toEqual([]);
        const left = await h.runtime.listContainers();
        expect(left.find(({ id }) => id === "last")).toMatchObject({ state: "exited", exitCode: 137 });
        h.started.disconnect();
        await resetDockerRuntime(socketPath, join(h.fixture.folder, "data"));
        expect(await docker("ps", "--all", "--quiet")).toEqual([]);
        expect(await docker("images", "--quiet")).toEqual([]);
        expect(await docker("network", "ls", "--quiet", "--filter", "label=kws.dev/cluster")).toEqual([]);
        await h.connect();
      });
    }

    async function nameOf(id: string): Promise<string> {
      const names = await docker("ps", "--all", "--format", "{{.Names}}", "--filter", `name=-${id}$`);
      expect(names).toHaveLength(1);
      return names[0] ?? "";
    }
  });
});

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
