/** The helper's container: found, or made anew, and connected with. */
import { randomBytes } from "node:crypto";
import { chmod, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type Docker from "dockerode";
import { replaceFile } from "@kws/base/atomicfile";
import { isErrno, messageOf, UserError } from "@kws/base/errors";
import { helperFolder, helperProgram } from "../../../entry.ts";
import { connectAgent, type AgentClient } from "../sandbox/client.ts";
import { protocolVersion } from "../sandbox/protocol.ts";
import { orMissing } from "./engine.ts";
import { helperPaths, labels, type EngineShare } from "./layout.ts";
import type { ClusterNetwork } from "./network.ts";

const startTimeoutMs = 30_000;

export interface Helper {
  client: AgentClient;
  /** The engine's name of its container. */
  name: string;
  adopted: boolean;
}

export const helperName = ({ group }: EngineShare): string => `${group}-helper`;

export async function ensureHelper(
  share: EngineShare,
  network: ClusterNetwork,
  image: string,
): Promise<Helper> {
  const { docker } = share;
  const name = helperName(share);
  const token = await tokenOf(share);
  const container = docker.getContainer(name);
  const madeOf = `${protocolVersion} ${image} ${helperFolder}`;
  const found = await orMissing(container.inspect());
  if (found?.State.Running === true && found.Config.Labels[labels.helper] === madeOf) {
    const client = await connect(container, token).catch(() => undefined);
    if (client !== undefined) return { client, name, adopted: true };
  }
  if (found !== undefined) await container.remove({ force: true, v: true });
  const port = `${helperPaths.port}/tcp`;
  await docker.createContainer({
    name,
    Image: image,
    Labels: { ...share.labels, [labels.helper]: madeOf },
    Entrypoint: ["node", "--max-semi-space-size=1", `${helperPaths.folder}/${helperProgram}`],
    Cmd: [String(helperPaths.port), helperPaths.token],
    ExposedPorts: { [port]: {} },
    NetworkingConfig: {
      EndpointsConfig: { [network.name]: { IPAMConfig: { IPv4Address: network.helper } } },
    },
    HostConfig: {
      NetworkMode: network.name,
      // Sees the containers' processes, to measure and to end them.
      PidMode: "host",
      UsernsMode: "host",
      CapDrop: ["ALL"],
      CapAdd: ["NET_ADMIN", "NET_BIND_SERVICE", "KILL", "DAC_READ_SEARCH"],
      PortBindings: { [port]: [{ HostIp: "127.0.0.1", HostPort: "" }] },
      Mounts: [
        { Type: "bind", Source: helperFolder, Target: helperPaths.folder, ReadOnly: true },
        { Type: "bind", Source: tokenFile(share), Target: helperPaths.token, ReadOnly: true },
      ],
      LogConfig: { Type: "json-file", Config: { "max-size": "1m", "max-file": "2" } },
    },
  });
  try {
    await container.start();
  } catch (error) {
    throw notStarted(messageOf(error), error);
  }
  return { client: await connectSoon(container, token), name, adopted: false };
}

const tokenFile = ({ dataDir }: EngineShare) => join(dataDir, "helper-token");

/** What connections to the helper begin with; the same for the life of the cluster's data, as its container is. */
async function tokenOf(share: EngineShare): Promise<string> {
  const path = tokenFile(share);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  const token = randomBytes(32).toString("hex");
  await replaceFile(path, token, { mode: 0o600 });
  await chmod(path, 0o600);
  return token;
}

async function connectSoon(container: Docker.Container, token: string): Promise<AgentClient> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    try {
      return await connect(container, token);
    } catch (error) {
      const { State } = await container.inspect();
      if (State.Running && performance.now() < deadline) {
        await delay(20);
        continue;
      }
      const said = (await container.logs({ stdout: true, stderr: true, tail: 5 })).toString("utf8");
      throw notStarted(said.replaceAll(/[^\x20-\x7e\n]/g, "").trim() || messageOf(error), error);
    }
  }
}

async function connect(container: Docker.Container, token: string): Promise<AgentClient> {
  const { NetworkSettings } = await container.inspect();
  const port = Number(NetworkSettings.Ports[`${helperPaths.port}/tcp`]?.[0]?.HostPort);
  if (!port) throw new Error("the helper's port is not published");
  const client = await connectAgent({ port, token });
  await client.call("hello", null);
  return client;
}

function notStarted(why: string, cause: unknown): UserError {
  return new UserError(`the cluster's helper did not start in the Docker Engine: ${why}`, {
    fix: "The engine must be able to mount the folders of kws and of its data (KWS_HOME); Docker Desktop lists what it shares under Settings, Resources, File sharing.",
    cause,
  });
}
