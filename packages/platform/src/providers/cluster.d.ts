/** The image builders as this package uses them; the modules themselves take over once they are there. */
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
