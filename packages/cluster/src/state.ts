/** What a cluster's folder says of its daemon: the files that both sides of `lifecycle.ts` and `daemon.ts` know. */
import { join } from "node:path";
import type { ProcessIdentity } from "@kws/base/process";

/** What the daemon writes down once it is ready. */
export interface DaemonState {
  daemon: ProcessIdentity;
  apiPort: number;
  ingressPort: number;
  ingressPortMoved: boolean;
  /** RFC 3339. */
  startedAt: string;
  /** Kubernetes version that the API server speaks. */
  version: string;
  /** Why it ended; empty where it was asked to, and absent while it runs or where it had no time to say. */
  ended?: string;
}

export const stateFile = (folder: string): string => join(folder, "daemon.json");
export const kubeconfigFile = (folder: string): string => join(folder, "kubeconfig");
/** The API server's own folder. */
export const apiServerFolder = (folder: string): string => join(folder, "apiserver");
export const storageFile = (folder: string): string => join(apiServerFolder(folder), "storage.db");
export const apiServerSocket = (folder: string): string => join(apiServerFolder(folder), "apiserver.sock");
/** Where the daemon is asked for what only it can do. */
export const controlSocket = (folder: string): string => join(folder, "control.sock");
/** Which container runtime the cluster has. */
export const runtimeFile = (folder: string): string => join(folder, "runtime.json");
/** Where persistent volumes are folders. */
export const volumesFolder = (folder: string): string => join(folder, "volumes");
/** The container runtime's own folder. */
export const networkFolder = (folder: string): string => join(folder, "network");
export const runtimeFolder = (folder: string): string => join(folder, "runtime");
