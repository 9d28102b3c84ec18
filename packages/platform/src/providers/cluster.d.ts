/** The embedded cluster's entry points as this package uses them; the modules themselves take over once they are there. */
declare module "@kws/cluster/lifecycle" {
  export interface ClusterInfo {
    name: string;
    state: "running" | "stopped";
    apiUrl: string;
    ingressPort: number;
    ingressPortMoved: boolean;
    kubeconfigPath: string;
    pid: number;
    startedAt: string;
    version: string;
    pods?: number;
    memoryBytes?: number;
  }
  export interface StartOptions {
    name: string;
    home: string;
    ingressPort?: number;
    signal?: AbortSignal;
    onProgress?: (message: string) => void;
  }
  export function startCluster(options: StartOptions): Promise<ClusterInfo>;
  export function stopCluster(options: { name: string; home: string }): Promise<void>;
  export function resetCluster(options: { name: string; home: string }): Promise<void>;
  export function clusterStatus(options: { name: string; home: string }): Promise<ClusterInfo | undefined>;
  export function listClusters(home: string): Promise<ClusterInfo[]>;
}

declare module "@kws/cluster/images/store" {
  export interface OpenImageStore {
    close?(): void;
  }
  export function openImageStore(dir: string): Promise<OpenImageStore>;
}

declare module "@kws/cluster/images/build" {
  import type { OpenImageStore } from "@kws/cluster/images/store";
  export interface BuildResult {
    reference: string;
    digest: string;
    cached: boolean;
    steps: unknown;
  }
  interface CommonOptions {
    store: OpenImageStore;
    tags: string[];
    onProgress?: (message: string) => void;
    signal?: AbortSignal;
  }
  export interface DockerfileOptions extends CommonOptions {
    context: string;
    dockerfile: string;
    buildArgs?: Record<string, string>;
    target?: string;
  }
  export function buildDockerfile(options: DockerfileOptions): Promise<BuildResult>;
  export interface NodeOptions extends CommonOptions {
    dir: string;
  }
  export function buildNode(options: NodeOptions): Promise<BuildResult>;
}
