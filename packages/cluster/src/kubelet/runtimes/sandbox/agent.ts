/**
 * The process that lives inside a cluster's own namespaces and owns everything in them: pods, containers, the Service
 * proxy and DNS. The daemon talks to it over a Unix socket and may come and go; when this process ends, the kernel ends
 * all that it owned.
 */
import { chmodSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { dirname, join } from "node:path";
import type { Logger } from "@kws/base/logger";
import { setUpBridge, setWayOut } from "../../../network/bridge.ts";
import { ClusterDns } from "../../../network/dns.ts";
import { Firewall } from "../../../network/firewall.ts";
import { HostRelay } from "../../../network/host-relay.ts";
import { ServiceProxy } from "../../../network/proxy.ts";
import { addresses } from "../../../network/state.ts";
import { ContainerStartError } from "../../runtime.ts";
import { fromMask } from "./capabilities.ts";
import { groupNameOf, removeControlGroups } from "./cgroups.ts";
import { runTool } from "./commands.ts";
import { Containers, type AgentContext } from "./containers.ts";
import { Freezer } from "./freezer.ts";
import { PipeMaker } from "./pipes.ts";
import { Pods } from "./pods.ts";
import {
  kind,
  protocolVersion,
  readFrames,
  writeJson,
  type Event,
  type Method,
  type Methods,
  type Open,
  type Request,
  type WireError,
} from "./protocol.ts";
import { serveSession } from "./sessions.ts";
import { assembleTools } from "./tools.ts";
import { measureContainers } from "./usage.ts";

export interface AgentOptions {
  dataDir: string;
  socketPath: string;
  logger: Logger;
}

type Handlers = { [M in Method]: (params: Methods[M]["params"]) => Promise<Methods[M]["result"]> };

const resolveTimeoutMs = 3000;

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
  const controls = new Set<Socket>();
  const emit = (event: Event) => controls.forEach((socket) => writeJson(socket, event));
  const pods = new Pods(join(runDir, "pods"), join(dataDir, "addresses.json"));
  const containers = new Containers(context, pods, (container) => emit({ event: "exit", container }));
  removeControlGroups(context.groupName);

  const questions = new Map<number, (packet: Buffer | undefined) => void>();
  let lastQuestion = 0;
  const dns = new ClusterDns((packet) => {
    if (controls.size === 0) return Promise.resolve(undefined);
    const id = ++lastQuestion;
    return new Promise((resolve) => {
      const finish = (answer: Buffer | undefined) => {
        clearTimeout(timer);
        questions.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(() => finish(undefined), resolveTimeoutMs);
      questions.set(id, finish);
      emit({ event: "resolve", id, packet: packet.toString("base64") });
    });
  });
  await dns.listen();
  await dns.listen(addresses.node);
  const proxy = new ServiceProxy(logger);
  const host = new HostRelay(logger);
  const firewall = new Firewall();
  const freezer = new Freezer();

  const handlers: Handlers = {
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
    async applyNetwork({ services, records, policies }) {
      dns.apply(records);
      const [unenforced] = await Promise.all([firewall.apply(policies, services), proxy.apply(services)]);
      return unenforced ?? null;
    },
    async setApiServer(path) {
      await proxy.setApiServer(path);
      return null;
    },
    async setWayOut(device) {
      await setWayOut(device);
      return null;
    },
    async setHostPorts({ path, ports }) {
      await host.apply(path, ports);
      return null;
    },
    async resolved({ id, packet }) {
      questions.get(id)?.(packet === null ? undefined : Buffer.from(packet, "base64"));
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

  const serve = async (socket: Socket, request: Request) => {
    const handler = handlers[request.method] as ((params: unknown) => Promise<unknown>) | undefined;
    try {
      if (!handler) throw new Error(`unknown method "${request.method}"`);
      writeJson(socket, { id: request.id, result: await handler(request.params) });
    } catch (error) {
      logger.warn("request failed", { method: request.method, error: String(error) });
      writeJson(socket, { id: request.id, error: wireError(error) });
    }
    if (request.method === "shutdown") socket.end(() => process.exit(0));
  };

  rmSync(socketPath, { force: true });
  mkdirSync(dirname(socketPath), { recursive: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    const stop = readFrames(socket, (type, payload) => {
      if (type !== kind.json) return;
      const message = JSON.parse(payload.toString()) as Request | Open;
      if ("open" in message) {
        socket.pause();
        const rest = stop();
        void freezer
          .thawed()
          .then(() => serveSession(socket, message, rest, { agent: context, containers, pods }));
        return;
      }
      if (!controls.has(socket)) {
        controls.add(socket);
        socket.once("close", () => {
          controls.delete(socket);
          // Whoever made them stand still was killed.
          if (controls.size === 0) void freezer.thaw();
        });
        socket.once("end", () => socket.end());
      }
      void serve(socket, message);
    });
  });
  process.umask(0o077);
  server.listen(socketPath, () => {
    chmodSync(socketPath, 0o600);
    process.umask(0o022);
    logger.info("agent ready", { pid: process.pid });
  });
}

function wireError(error: unknown): WireError {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof ContainerStartError ? { message, reason: error.reason } : { message };
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
