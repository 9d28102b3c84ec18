/** The cluster's own network, inside the agent's network namespace: one bridge, and a virtual cable to each pod. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { replaceFileSync } from "@kws/base/atomicfile";
import { isErrno } from "@kws/base/errors";
import { runTool } from "../kubelet/runtimes/sandbox/commands.ts";
import { addresses } from "./state.ts";

export const bridge = "kws0";
const prefix = Number(addresses.podCidr.split("/")[1]);

/** Makes the bridge with the node's address, and Service addresses local so that the proxy can listen on them. */
export async function setUpBridge(): Promise<void> {
  const commands = [
    "link set lo up",
    `link add ${bridge} address 02:00:0a:f4:00:01 type bridge`,
    `addr add ${addresses.node}/${prefix} dev ${bridge}`,
    `link set ${bridge} up`,
    `route add local ${addresses.serviceCidr} dev lo`,
  ];
  await runTool("ip", ["-batch", "-"], { input: `${commands.join("\n")}\n` });
  for (const [path, value] of Object.entries({
    "net/ipv4/ip_forward": "1",
    // The way out is on the bridge too, and pods go on asking the node for it.
    "net/ipv4/conf/all/send_redirects": "0",
    [`net/ipv4/conf/${bridge}/send_redirects`]: "0",
    "net/ipv4/ip_unprivileged_port_start": "0",
    // Pods meet at the node alone, which so answers for them to the way out.
    [`net/ipv4/conf/${bridge}/proxy_arp_pvlan`]: "1",
    [`net/ipv4/neigh/${bridge}/proxy_delay`]: "0",
  })) {
    writeFileSync(`/proc/sys/${path}`, value);
  }
  // Where the kernel can do so, it would show packets to the firewall before they are routed.
  const early = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  if (existsSync(early)) writeFileSync(early, "0");
  await setWayOut(null);
}

/** Sends what is for other networks to the device's other end, or refuses it where there is none. */
export async function setWayOut(device: string | null): Promise<void> {
  const local = `${addresses.host}/32 dev ${bridge}`;
  if (device === null) {
    await runTool("ip", ["-batch", "-"], {
      input: `addr replace ${local}\nroute replace unreachable default\n`,
    });
    return;
  }
  // The address is the one of the other end from now on.
  await runTool("ip", ["addr", "del", ...local.split(" ")]).catch(() => undefined);
  await runTool("ip", ["-batch", "-"], {
    input: `${plug(device)}route replace default via ${addresses.host}\n`,
  });
}

/** Commands for `ip -batch` inside a pod's namespace. The agent is in the namespace of process 1. */
export function podBatch(address: string): string {
  return [
    "link set lo up",
    `link add eth0 type veth peer name ${cable(address)} netns 1`,
    // All goes by way of the node, also to other pods: there Services and NetworkPolicies are seen to.
    `addr add ${address}/32 dev eth0`,
    "link set eth0 up",
    `route add ${addresses.node} dev eth0 src ${address}`,
    `route add default via ${addresses.node}`,
    "",
  ].join("\n");
}

export async function attachPod(address: string): Promise<void> {
  await runTool("ip", ["-batch", "-"], { input: plug(cable(address)) });
}

/** Commands that put a device on the bridge, where it reaches the node and no other device. */
function plug(device: string): string {
  return `link set ${device} master ${bridge} up\nlink set ${device} type bridge_slave isolated on\n`;
}

/** Takes the cable away; one that is gone already is fine. */
export async function detachPod(address: string): Promise<void> {
  await runTool("ip", ["link", "del", cable(address)]).catch(() => undefined);
}

/** The cable's end at the bridge; 15 characters at most, unique as the address is. */
function cable(address: string): string {
  return `kws${address.split(".").slice(2).join("-")}`;
}

/**
 * Addresses of pods by their id. Goes round the whole range before it uses one again, also after a restart, so that a
 * connection to a pod that is gone never reaches another.
 */
export class AddressPool {
  readonly #file: string;
  readonly #held = new Map<string, number>();
  #next: number;

  constructor(file: string) {
    this.#file = file;
    const saved = load(file);
    this.#next = saved.next;
    for (const [id, offset] of Object.entries(saved.held)) this.#held.set(id, offset);
  }

  /** The same id gets the same address until it is released. */
  allocate(id: string): string {
    const known = this.#held.get(id);
    if (known !== undefined) return format(known);
    const used = new Set(this.#held.values());
    if (used.size >= last - first) throw new Error(`no free address in ${addresses.podCidr}`);
    let offset = this.#next;
    while (used.has(offset)) offset = offset >= last ? first : offset + 1;
    this.#next = offset >= last ? first : offset + 1;
    this.#held.set(id, offset);
    this.#save();
    return format(offset);
  }

  release(id: string): void {
    if (this.#held.delete(id)) this.#save();
  }

  #save(): void {
    const text = JSON.stringify({ next: this.#next, held: Object.fromEntries(this.#held) });
    replaceFileSync(this.#file, text);
  }
}

/** Offsets in the range; the first ones are the node's. */
const first = 10;
const last = 2 ** (32 - prefix) - 2;

function format(offset: number): string {
  const [a = 0, b = 0, c = 0, d = 0] = (addresses.podCidr.split("/")[0] ?? "").split(".").map(Number);
  const value = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d + offset;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

function load(file: string): { next: number; held: Record<string, number> } {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as { next: number; held: Record<string, number> };
  } catch (error) {
    // A half-written file is impossible (it is renamed into place); an absent one is a new cluster.
    if (isErrno(error, "ENOENT")) return { next: first, held: {} };
    throw error;
  }
}
