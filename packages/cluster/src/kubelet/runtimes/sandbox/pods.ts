/** The agent's pod sandboxes: namespaces held open by files, an address, and the files that all containers of a pod see. */
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { AddressPool, attachPod, detachPod, podBatch } from "../../../network/bridge.ts";
import { addresses } from "../../../network/state.ts";
import type { PodSandbox, PodSandboxSpec } from "../../runtime.ts";
import { pauseScript, writePodFiles } from "../pod-files.ts";
import { runTool } from "./commands.ts";
import { childrenOf } from "./processes.ts";
import { systemPath } from "./tools.ts";

export interface Pod {
  spec: PodSandboxSpec;
  address: string;
  /** Holds the namespaces' files, hosts, resolv.conf, hostname and shm. */
  folder: string;
  /** nsenter's options for a process that joins the pod. */
  join: string[];
  /** First process of the shared PID namespace, where there is one. */
  pause?: ChildProcess;
}

/** Runs in the pod's fresh namespaces; `ip` reads its commands from stdin. Arguments: host name, then sysctl path and value pairs. */
const setUp = `set -eu
hostname "$1" 2>/dev/null || echo "$1" >/proc/sys/kernel/hostname
shift
ip -batch -
if [ -e /proc/sys/net/ipv4/ip_unprivileged_port_start ]; then echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start || :; fi
while [ $# -gt 0 ]; do echo "$2" >"/proc/sys/$1"; shift 2; done
`;

export class Pods {
  readonly #pods = new Map<string, Pod>();
  readonly #starting = new Map<string, Promise<Pod>>();
  readonly #folder: string;
  readonly #pool: AddressPool;

  /** `folder` is on the agent's own tmpfs; `addressFile` outlives the agent. */
  constructor(folder: string, addressFile: string) {
    this.#folder = folder;
    this.#pool = new AddressPool(addressFile);
    mkdirSync(folder, { recursive: true });
  }

  get(id: string): Pod | undefined {
    return this.#pods.get(id);
  }

  list(): PodSandbox[] {
    return [...this.#pods.values()].map(describe);
  }

  async run(spec: PodSandboxSpec): Promise<PodSandbox> {
    // The id names folders.
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

  async remove(id: string): Promise<void> {
    await this.#starting.get(id)?.catch(() => undefined);
    const pod = this.#pods.get(id);
    this.#pods.delete(id);
    if (!pod) return this.#pool.release(id);
    pod.pause?.kill("SIGKILL");
    await this.#free(pod);
  }

  async #create(spec: PodSandboxSpec): Promise<Pod> {
    const address = spec.hostNetwork ? addresses.node : this.#pool.allocate(spec.id);
    const folder = join(this.#folder, spec.id);
    mkdirSync(folder);
    const names = spec.hostNetwork ? ["uts", "ipc"] : ["net", "uts", "ipc"];
    const namespaces = names.map((name) => `--${name}=${join(folder, name)}`);
    const pod: Pod = { spec, address, folder, join: namespaces };
    try {
      for (const name of names) writeFileSync(join(folder, name), "");
      writePodFiles(folder, spec, address);
      mkdirSync(join(folder, "shm"));
      chmodSync(join(folder, "shm"), 0o1777);
      const sysctls = Object.entries(spec.sysctls).flatMap(([name, value]) => [
        name.replaceAll(".", "/"),
        value,
      ]);
      await runTool("unshare", [...namespaces, "sh", "-c", setUp, "sh", spec.hostname, ...sysctls], {
        input: spec.hostNetwork ? "" : podBatch(address),
      });
      if (!spec.hostNetwork) await attachPod(address);
      if (spec.shareProcessNamespace) await startPause(pod);
    } catch (error) {
      await this.#free(pod);
      throw error;
    }
    this.#pods.set(spec.id, pod);
    return pod;
  }

  async #free(pod: Pod): Promise<void> {
    if (!pod.spec.hostNetwork) await detachPod(pod.address);
    const files = ["net", "uts", "ipc"]
      .map((name) => join(pod.folder, name))
      .filter((path) => existsSync(path));
    // A namespace that was never made has no mount on its file.
    await runTool("umount", ["-n", "-q", "-l", ...files]).catch(() => undefined);
    rmSync(pod.folder, { recursive: true, force: true });
    this.#pool.release(pod.spec.id);
  }
}

function describe({ spec, address }: Pod): PodSandbox {
  return { id: spec.id, name: spec.name, namespace: spec.namespace, address };
}

async function startPause(pod: Pod): Promise<void> {
  const words = [...pod.join, "unshare", "--pid", "--fork", "--kill-child", "sh", "-c", pauseScript];
  const pause = spawn("nsenter", words, { env: { PATH: systemPath }, stdio: ["ignore", "pipe", "inherit"] });
  pod.pause = pause;
  await new Promise<void>((resolve, reject) => {
    pause.once("error", reject);
    pause.once("spawn", resolve);
  });
  const deadline = performance.now() + 5000;
  let first: number | undefined;
  while ((first = childrenOf(pause.pid ?? 0)[0]) === undefined) {
    if (pause.exitCode !== null || performance.now() > deadline)
      throw new Error("cannot make the pod's PID namespace");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  pod.join = [...pod.join, `--pid=/proc/${first}/ns/pid`];
}
