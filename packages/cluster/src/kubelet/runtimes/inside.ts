/**
 * What serves a cluster's network from inside it, in whichever process stands there: names, Services, and the way to the
 * host's own services. It does what the daemon asks.
 */
import type { Logger } from "@kws/base/logger";
import { ClusterDns } from "../../network/dns.ts";
import { HostRelay } from "../../network/host-relay.ts";
import { ServiceProxy } from "../../network/proxy.ts";
import { addresses, type NetworkState } from "../../network/state.ts";
import type { Event, Handlers } from "./sandbox/protocol.ts";

export type NetworkMethod = "applyNetwork" | "setApiServer" | "setHostPorts" | "resolved";

const resolveTimeoutMs = 3000;

/**
 * Resolves when names are answered. The node's and the Services' addresses must be local by then; `emit` answers false where no
 * daemon is connected, and `enforce` why policies are not enforced.
 */
export async function serveNetwork(
  emit: (event: Event) => boolean,
  enforce: (state: NetworkState) => Promise<string | undefined>,
  logger: Logger,
): Promise<Handlers<NetworkMethod>> {
  const questions = new Map<number, (packet: Buffer | undefined) => void>();
  let lastQuestion = 0;
  const dns = new ClusterDns((packet) => {
    const id = ++lastQuestion;
    return new Promise((resolve) => {
      const finish = (answer: Buffer | undefined) => {
        clearTimeout(timer);
        questions.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(() => finish(undefined), resolveTimeoutMs);
      questions.set(id, finish);
      if (!emit({ event: "resolve", id, packet: packet.toString("base64") })) finish(undefined);
    });
  });
  await dns.listen();
  await dns.listen(addresses.node);
  const proxy = new ServiceProxy(logger);
  const host = new HostRelay(logger);
  return {
    async applyNetwork(state) {
      dns.apply(state.records);
      const [unenforced] = await Promise.all([enforce(state), proxy.apply(state.services)]);
      return unenforced ?? null;
    },
    async setApiServer(path) {
      await proxy.setApiServer(path);
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
  };
}
