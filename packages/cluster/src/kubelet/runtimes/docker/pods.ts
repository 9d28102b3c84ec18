/** Pod sandboxes in a Docker Engine: a container that does nothing holds each one's namespaces and address. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { addresses } from "../../../network/state.ts";
import type { PodSandbox, PodSandboxSpec } from "../../runtime.ts";
import { pauseScript, writePodFiles } from "../pod-files.ts";
import { isStatus, orMissing } from "./engine.ts";
import { labels, ofShare, type EngineShare } from "./layout.ts";
import { nodeRange, type ClusterNetwork } from "./network.ts";

export interface EnginePod extends PodSandbox {
  hostname: string;
  hostNetwork: boolean;
  shareProcessNamespace: boolean;
  processLimit: number;
  /** The files of names. */
  folder: string;
  /** The engine's name of the container. */
  pause: string;
}

/** An ordinary user, who has no capability: what its container may do is for `addRoutes` alone. */
const nobody = "65534:65534";

export interface PodSurroundings {
  network: ClusterNetwork;
  /** The engine's id of an image with a shell, Node and ip. */
  image: string;
  /** The helper's container. */
  helper: string;
}

export class EnginePods {
  readonly #share: EngineShare;
  readonly #around: PodSurroundings;
  readonly #pods = new Map<string, EnginePod>();
  readonly #starting = new Map<string, Promise<EnginePod>>();

  constructor(share: EngineShare, around: PodSurroundings) {
    this.#share = share;
    this.#around = around;
  }

  /** Takes over those that an earlier daemon made; what it was still making is removed. */
  async adopt(): Promise<void> {
    const { docker } = this.#share;
    const found = await docker.listContainers({ all: true, filters: ofShare(this.#share, labels.sandbox) });
    for (const { Id, State, Labels } of found) {
      const pod = JSON.parse(Labels[labels.sandbox] ?? "") as Omit<EnginePod, "address">;
      const { State: state, NetworkSettings } = await docker.getContainer(Id).inspect();
      const address = pod.hostNetwork
        ? addresses.node
        : NetworkSettings.Networks[this.#around.network.name]?.IPAddress;
      if (State === "running" && state.Running && address) this.#pods.set(pod.id, { ...pod, address });
      else await docker.getContainer(Id).remove({ force: true });
    }
  }

  get(id: string): EnginePod | undefined {
    return this.#pods.get(id);
  }

  list(): PodSandbox[] {
    return [...this.#pods.values()].map(describe);
  }

  async run(spec: PodSandboxSpec): Promise<PodSandbox> {
    if (!/^[\w-][\w.-]*$/.test(spec.id)) throw new Error(`bad pod sandbox id ${JSON.stringify(spec.id)}`);
    const known = this.#pods.get(spec.id);
    if (known) return describe(known);
    let starting = this.#starting.get(spec.id);
    if (!starting) {
      starting = this.#create(spec).finally(() => this.#starting.delete(spec.id));
      this.#starting.set(spec.id, starting);
    }
    return describe(await starting);
  }

  /** Its containers must be gone. */
  async remove(id: string): Promise<void> {
    await this.#starting.get(id)?.catch(() => undefined);
    const pod = this.#pods.get(id);
    this.#pods.delete(id);
    if (pod) await this.#free(pod);
  }

  async #create(spec: PodSandboxSpec): Promise<EnginePod> {
    const { docker, group, dataDir, labels: own } = this.#share;
    const { id, name, namespace, hostname, hostNetwork, shareProcessNamespace, processLimit } = spec;
    const folder = join(dataDir, "pods", id);
    const pause = `${group}-pod-${id}`;
    const known = { id, name, namespace, hostname, hostNetwork, shareProcessNamespace, processLimit };
    const pod = { ...known, folder, pause, address: addresses.node as string };
    mkdirSync(folder, { recursive: true });
    try {
      const container = await docker.createContainer({
        name: pause,
        Image: this.#around.image,
        Labels: { ...own, [labels.sandbox]: JSON.stringify({ ...known, folder, pause }) },
        Entrypoint: ["sh"],
        Cmd: ["-c", pauseScript],
        User: nobody,
        ...(hostNetwork ? {} : { Hostname: hostname }),
        HostConfig: {
          NetworkMode: hostNetwork ? `container:${this.#around.helper}` : this.#around.network.name,
          IpcMode: "shareable",
          CapDrop: ["ALL"],
          CapAdd: hostNetwork ? [] : ["NET_ADMIN"],
          ...(Object.keys(spec.sysctls).length > 0 ? { Sysctls: spec.sysctls } : {}),
          LogConfig: { Type: "none", Config: {} },
        },
      });
      await container.start();
      if (!hostNetwork) {
        await this.#addRoutes(pause);
        const { NetworkSettings } = await container.inspect();
        pod.address = NetworkSettings.Networks[this.#around.network.name]?.IPAddress ?? "";
      }
      writePodFiles(folder, spec, pod.address);
    } catch (error) {
      await this.#free(pod);
      throw error;
    }
    this.#pods.set(id, pod);
    return pod;
  }

  /** The Services and the node are behind the helper. */
  async #addRoutes(pause: string): Promise<void> {
    const via = `via ${this.#around.network.helper}`;
    const script = [addresses.serviceCidr, nodeRange].map((range) => `ip route add ${range} ${via}`);
    const exec = await this.#share.docker.getContainer(pause).exec({
      Cmd: ["sh", "-c", script.join(" && ")],
      User: "0:0",
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({});
    let said = "";
    for await (const chunk of stream) said += String(chunk);
    const { ExitCode } = await exec.inspect();
    if (ExitCode !== 0) throw new Error(`the pod has no route to Services: ${said.trim()}`);
  }

  async #free({ pause, folder }: EnginePod): Promise<void> {
    const removed = this.#share.docker.getContainer(pause).remove({ force: true, v: true });
    await orMissing(removed).catch((error: unknown) => {
      if (!isStatus(error, 409)) throw error; // Somebody removes it already.
    });
    rmSync(folder, { recursive: true, force: true });
  }
}

function describe({ id, name, namespace, address }: EnginePod): PodSandbox {
  return { id, name, namespace, address };
}
