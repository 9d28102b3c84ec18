/** What all parts of one kubelet share. */
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import type { EventRecorder } from "@kws/kube/events";
import type { Standstill } from "../standstill.ts";
import type { ImageStore, PullImage, ResolveUser } from "../images/image.ts";
import type { Backoff } from "./backoff.ts";
import type { Allocatable } from "./downward.ts";
import type { References } from "./references.ts";
import type { Runtime } from "./runtime.ts";

export interface KubeletContext {
  client: KubeClient;
  runtime: Runtime;
  images: ImageStore;
  pullImage: PullImage;
  resolveUser: ResolveUser;
  references: References;
  recorder: EventRecorder;
  crashes: Backoff;
  machine: Allocatable;
  node: { name: string; address: string };
  dataDir: string;
  /** Where pods reach the API server, for `KUBERNETES_SERVICE_HOST` and `_PORT` before the Service exists. */
  apiServer: { host: string; port: number };
  standstill: Standstill;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
}
