/**
 * The process that lives inside a cluster's own namespaces and owns everything in them: pods, containers, the Service
 * proxy and DNS. The daemon talks to it over a Unix socket and may come and go; when this process ends, the kernel ends
 * all that it owned.
 */
import { chmodSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import type { Logger } from "@kws/base/logger";
import { setUpBridge, setWayOut } from "../../../network/bridge.ts";
import { Firewall } from "../../../network/firewall.ts";
import { serveNetwork } from "../inside.ts";
import { fromMask } from "./capabilities.ts";
import { groupNameOf, removeControlGroups } from "./cgroups.ts";
import { runTool } from "./commands.ts";
import { Connections } from "./connections.ts";
import { Containers, type AgentContext } from "./containers.ts";
import { Freezer } from "./freezer.ts";
import { PipeMaker } from "./pipes.ts";
import { Pods } from "./pods.ts";
import { protocolVersion, type Handlers, type Method } from "./protocol.ts";
import { serveSession } from "./sessions.ts";
import { assembleTools } from "./tools.ts";
import { measureContainers } from "./usage.ts";

export interface AgentOptions {
  dataDir: string;
  socketPath: string;
  logger: Logger;
}

/** Sets the namespaces up and serves until `shutdown`. */
export async function runAgent({ dataDir, socketPath, logger }: AgentOptions): Promise<void> {
  const runDir = join(dataDir, "run");
  mkdirSync(runDir, { recursive: true });
  await runTool("mount", ["-n", "-t", "tmpfs", "-o", "mode=700", "kws", runDir]);
  mkdirSync(join(runDir, "containers"));
  const tools = join(dataDir, "tools");
  await Promise.all([assembleTools(tools), setUpBridge()]);

  const context: AgentContext = {
    dataDir,
    runDir,
    tools,
    powers: readPowers(),
    groupName: groupNameOf(dataDir),
    pipes: new PipeMaker(runDir, 16),
    logger,
  };
  const connections = new Connections(logger);
  const pods = new Pods(join(runDir, "pods"), join(dataDir, "addresses.json"));
  const containers = new Containers(context, pods, (container) =>
    connections.emit({ event: "exit", container }),
  );
  removeControlGroups(context.groupName);

  const firewall = new Firewall();
  const network = await serveNetwork(
    (event) => connections.emit(event),
    ({ policies, services }) => firewall.apply(policies, services),
    logger,
  );
  const freezer = new Freezer();

  const handlers: Handlers<Exclude<Method, "measure" | "kill">> = {
    ...network,
    hello: async () => ({ version: protocolVersion, pid: process.pid }),
    runPodSandbox: (spec) => freezer.starting(() => pods.run(spec)),
    async removePodSandbox(id) {
      await freezer.thawed();
      await containers.removeAllOf(id);
      await pods.remove(id);
      return null;
    },
    listPodSandboxes: async () => pods.list(),
    startContainer: (spec) => freezer.starting(() => containers.start(spec)),
    async stopContainer({ id, gracePeriodSeconds }) {
      await freezer.thawed();
      await containers.stop(id, gracePeriodSeconds);
      return null;
    },
    async removeContainer(id) {
      await containers.remove(id);
      return null;
    },
    listContainers: async () => containers.list(),
    usage: async () => measureContainers(containers.roots()),
    async setWayOut(device) {
      await setWayOut(device);
      return null;
    },
    async freeze() {
      await freezer.freeze();
      return null;
    },
    async thaw() {
      await freezer.thaw();
      return null;
    },
    async shutdown() {
      await freezer.thaw();
      await containers.stopAll();
      return null;
    },
  };

  rmSync(socketPath, { force: true });
  mkdirSync(dirname(socketPath), { recursive: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.accept(socket, {
      handlers,
      onSession(open, rest) {
        void freezer
          .thawed()
          .then(() => serveSession(socket, open, rest, { agent: context, containers, pods }));
      },
      // Whoever made them stand still was killed.
      onDeserted: () => void freezer.thaw(),
      onShutdown: () => process.exit(0),
    });
  });
  process.umask(0o077);
  server.listen(socketPath, () => {
    chmodSync(socketPath, 0o600);
    process.umask(0o022);
    logger.info("agent ready", { pid: process.pid });
  });
}

function readPowers(): AgentContext["powers"] {
  const mapping = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/);
  const status = readFileSync("/proc/self/status", "utf8");
  return {
    // The first user namespace maps every number to itself.
    rootless: Number(mapping[2]) < 2 ** 32 - 1,
    capabilities: fromMask(/^CapBnd:\s*(\w+)/m.exec(status)?.[1] ?? "0"),
  };
}
