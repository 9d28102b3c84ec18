/** What a cluster needs of the part that holds its containers and its network, whichever it is. */
import type { NetworkDataplane } from "../../network/state.ts";
import type { Runtime } from "../runtime.ts";

/** The runtimes that a cluster can have. */
export const runtimeNames = ["sandbox", "docker"] as const;
export type RuntimeName = (typeof runtimeNames)[number];

export interface ClusterRuntime {
  runtime: Runtime;
  network: NetworkDataplane;
  /** Whether its containers were found running. */
  adopted: boolean;
  /** Where `default/kubernetes` leads: the API server's Unix socket. */
  setApiServer(socketPath: string): Promise<void>;
  /** Every container stands still until `thaw`; where this process ends before, until the next one takes them over. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Resolves when the process inside the cluster's network is gone, or the connection to it ended. */
  closed: Promise<void>;
  /** Ends everything in it. Final states of containers stay, for the next start. */
  stop(): Promise<void>;
  /** Leaves it running, with its containers, for the next daemon to find. */
  disconnect(): void;
}
