/** Starts every controller of the cluster over one shared set of informers. */
import type { Logger } from "@kws/base/logger";
import type { KubeClient } from "@kws/kube/client";
import { runController } from "@kws/kube/controller";
import { SharedInformers } from "@kws/kube/informer";
import type { CertificateSigner } from "../apiserver/signing.ts";
import { Standstill } from "../standstill.ts";
import { certificateController } from "./certificates.ts";
import { clusterRoleAggregationController } from "./clusterrole-aggregation.ts";
import { createContext, type Controller, type ControllerContext } from "./context.ts";
import { cronJobController } from "./cronjob.ts";
import { daemonSetController } from "./daemonset.ts";
import { disruptionController } from "./disruption.ts";
import { horizontalPodAutoscalerController } from "./hpa.ts";
import { jobController } from "./job.ts";
import { ttlAfterFinishedController } from "./ttl-after-finished.ts";
import { podGcController } from "./pod-gc.ts";
import { resourceQuotaController } from "./resource-quota.ts";
import { statefulSetController } from "./statefulset.ts";
import { deploymentController } from "./deployment.ts";
import { endpointsController, endpointSliceMirroringController } from "./endpoints.ts";
import { endpointSliceController } from "./endpointslice.ts";
import { startGarbageCollector } from "./garbage-collector.ts";
import { namespaceController } from "./namespace.ts";
import { claimController, ensureStandardClass, volumeController } from "./persistent-volume.ts";
import { rootCaController, serviceAccountController } from "./serviceaccount.ts";
import { claimProtectionController, volumeProtectionController } from "./volume-protection.ts";
import { replicaSetController, replicationControllerController } from "./replicaset.ts";

export interface ControllersOptions {
  client: KubeClient;
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
  signal: AbortSignal;
  /** PEM of the authority that signs the API server's certificate, published in every namespace. */
  rootCa: string;
  /** Signs certificates with that authority. */
  sign: CertificateSigner;
  /** Where volumes of the default StorageClass are made, one folder each. */
  volumesDir: string;
  /** Shared with whoever takes snapshots. */
  standstill?: Standstill;
  /** Shared with other parts of the process; own ones unless given. */
  informers?: SharedInformers;
}

const controllers: ((ctx: ControllerContext) => Controller)[] = [
  deploymentController,
  replicaSetController,
  replicationControllerController,
  endpointSliceController,
  endpointsController,
  endpointSliceMirroringController,
  serviceAccountController,
  rootCaController,
  namespaceController,
  claimController,
  volumeController,
  claimProtectionController,
  volumeProtectionController,
  statefulSetController,
  daemonSetController,
  jobController,
  ttlAfterFinishedController,
  cronJobController,
  disruptionController,
  horizontalPodAutoscalerController,
  podGcController,
  clusterRoleAggregationController,
  resourceQuotaController,
  certificateController,
];

/** Resolves when all controllers run, which is once their informers have synced. They end with the signal. */
export async function startControllers(options: ControllersOptions): Promise<void> {
  const { client, logger, signal } = options;
  const informers = options.informers ?? new SharedInformers(client, { logger, signal });
  const ctx = createContext({ ...options, informers, standstill: options.standstill ?? new Standstill() });
  for (const controller of controllers.map((make) => make(ctx))) {
    void runController({ ...controller, logger, signal });
  }
  await Promise.all([informers.synced(), ensureStandardClass(ctx)]);
  await startGarbageCollector(ctx);
}
