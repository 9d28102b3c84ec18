/** What gives a cluster. Everything above speaks to it through the Kubernetes API and Helm alone. */
import { type Logger, silent } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import type { Transport } from "@kws/kube/transport";
import type { Repository } from "@kws/oci/repository";
import type { ProviderName, RuntimeName } from "../project/provider-names.ts";
import type { Snapshots } from "./snapshots.ts";

/** Where images seem to come from that were built on this machine. */
export const localRegistry = "kws.local";

export interface ProviderStatus {
  provider: ProviderName;
  name: string;
  /** kws made it, and may remove it without being told its name. */
  managed: boolean;
  state: "running" | "stopped" | "unreachable";
  apiUrl?: string;
  /** What runs the containers of an embedded cluster. */
  runtime?: RuntimeName;
  /** Where Ingress hosts are served on this machine, such as 8080. */
  ingressPort?: number;
  /** True where the usual port was taken. */
  ingressPortMoved?: boolean;
  kubeconfigPath?: string;
  context?: string;
  version?: string;
  pid?: number;
  startedAt?: string;
  pods?: number;
  memoryBytes?: number;
  /** Why it does not run, where nobody asked for that. */
  problem?: string;
}

/** For helm and kubectl: a file and, in it, a context. */
export interface KubeconfigRef {
  path: string;
  context?: string;
}

export interface ImageBuild {
  /** `dockerfile` or `node`. */
  builder: "dockerfile" | "node";
  /** The image's name without a tag, such as `shop/orders`. */
  name: string;
  /** Absolute. */
  context: string;
  /** Absolute; for the builder `dockerfile`. */
  dockerfile: string;
  args: Record<string, string>;
  target?: string;
  /** `dev` unless given. */
  tag?: string;
}

export interface BuiltImage {
  repository: string;
  tag: string;
  /** `sha256:…`. */
  digest: string;
  /** True where nothing had to be done. */
  cached: boolean;
  /** The nodes know it by its tag, which no other content has, and not by its digest. */
  byTag?: true;
}

export interface BuildContext {
  signal?: AbortSignal;
  onProgress?: (message: string) => void;
}

export interface BuildImageContext extends BuildContext {
  /** Look for newer ones of stored base images in their registries. */
  pull?: boolean;
  /** Told what is out of the ordinary, and no reason to fail. */
  onWarning?: (message: string) => void;
}

/** What makes images on this machine. */
export interface Builder {
  /**
   * Throws what can be known to be wrong with a build before anything is changed, or that the provider cannot build at all.
   * `incomplete` says that files of the context are still to come.
   */
  checkBuild(build: ImageBuild, context: { incomplete: boolean; signal?: AbortSignal }): Promise<void>;
  /** Builds an image so that the cluster's nodes can run it. */
  buildImage(build: ImageBuild, context: BuildImageContext): Promise<BuiltImage>;
  /** The images of that name that the cluster's nodes can run, to be copied from there or to there. */
  imageRepository(name: string): Promise<Repository>;
}

export interface Provider extends Builder {
  /** Its nodes see the files of this machine under the same paths, so that a pod can mount a folder of it. */
  sharesFiles?: boolean;
  /** It builds images also while its cluster does not run. */
  buildsAlone?: true;
  /** An image with Node that its nodes have without a registry. */
  nodeImage?: string;
  name: ProviderName;
  /** An image with a shell that the cluster's nodes have without pulling it; undefined where there is none. */
  shellImage?: string;
  start(context: BuildContext & { ingressPort?: number; runtime?: RuntimeName }): Promise<ProviderStatus>;
  /** True where there was something to stop. */
  stop(): Promise<boolean>;
  /**
   * Removes the cluster with its data; true where there was one. Throws for one that kws did not make, unless `foreign` says
   * that it was meant.
   */
  reset(options: { foreign: boolean }): Promise<boolean>;
  status(): Promise<ProviderStatus>;
  /** Throws where the cluster does not run. */
  kubeconfig(): Promise<KubeconfigRef>;
  /** Throws where the provider has none, and says why. */
  snapshots(): Snapshots;
}

/** An open way to the API server of a provider's cluster. */
export interface Connection {
  client: KubeClient;
  transport: Transport;
  kubeconfig: KubeconfigRef;
  close(): void;
}

/** The log is told about every request. */
export async function connect(provider: Provider, log: Logger = silent): Promise<Connection> {
  const [{ KubeClient }, { connect: open }] = await Promise.all([
    import("@kws/kube/client"),
    import("@kws/kube/kubeconfig"),
  ]);
  const kubeconfig = await provider.kubeconfig();
  const wire = await open(kubeconfig);
  const transport: Transport & { close(): void } = {
    close: () => wire.close(),
    async request(request) {
      const response = await wire.request(request);
      log.debug("request", { method: request.method, path: request.path, status: response.status });
      return response;
    },
  };
  return { client: new KubeClient(transport), transport, kubeconfig, close: () => transport.close() };
}
