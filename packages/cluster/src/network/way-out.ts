/**
 * The way from the cluster's network to others, where the machine has slirp4netns: a TCP and UDP stack of an ordinary process
 * on the host, connected with the bridge by a tap device. It needs neither root nor a firewall rule, and ends with its parent.
 * Its own address stands for the host, whose loopback services it reaches too.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { addresses } from "./state.ts";

export interface WayOut {
  /** The device in the cluster's network namespace, to be put on the bridge. */
  device: string;
  /** Resolves when the process has ended. */
  closed: Promise<void>;
  close(): void;
}

export interface WayOutOptions {
  /** Path of slirp4netns. */
  program: string;
  /** A process in the cluster's namespaces. */
  pid: number;
  user?: { uid: number; gid: number };
}

const device = "tap0";

/** Throws with what the program says where it cannot do it, such as without /dev/net/tun. */
export async function openWayOut({ program, pid, user }: WayOutOptions): Promise<WayOut> {
  const options = [
    `--cidr=${addresses.podCidr}`,
    "--mtu=1500",
    "--disable-dns",
    "--ready-fd=3",
    "--exit-fd=4",
  ];
  // The host's address is the range's second, as slirp4netns takes it.
  const child = spawn(program, [...options, String(pid), device], {
    cwd: "/",
    ...user,
    env: {},
    // The last one is never written to: its end is this process's, and with it the child's.
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
  });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1000)));
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => resolve());
  });
  const ready = child.stdio[3];
  if (!ready) throw new Error("no descriptor to be ready on");
  const failed = ended.then(() => {
    throw new Error(said.trim() || "it ended without a word");
  });
  await Promise.race([once(ready, "data"), failed]);
  failed.catch(() => undefined); // What happens later is the end, not a failure to begin.
  return { device, closed: ended, close: () => child.kill() };
}
