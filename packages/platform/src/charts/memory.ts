/** The memory that the pods of rendered manifests ask for: known before there is any. */
import { parseQuantity } from "@kws/kube/quantity";
import { parseAllDocuments } from "yaml";

interface PodSpec {
  containers?: {
    resources?: { requests?: { memory?: string | number }; limits?: { memory?: string | number } };
  }[];
}

interface Workload {
  kind?: string;
  spec?: PodSpec & { replicas?: number; parallelism?: number; template?: { spec?: PodSpec } };
}

/** Bytes, of all replicas. DaemonSets, whose number is the cluster's, and Jobs, which end, are left out. */
export function requestedMemory(manifests: string): number {
  const documents = parseAllDocuments(manifests);
  const objects = Array.isArray(documents) ? documents.map((one) => one.toJS() as Workload | null) : [];
  return objects.reduce((total, object) => total + (object === null ? 0 : memoryOf(object)), 0);
}

function memoryOf({ kind, spec = {} }: Workload): number {
  if (kind === "Pod") return memoryOfPod(spec);
  if (kind !== "Deployment" && kind !== "StatefulSet") return 0;
  return (spec.replicas ?? 1) * memoryOfPod(spec.template?.spec ?? {});
}

/** What has a limit and no request asks for its limit. */
function memoryOfPod({ containers = [] }: PodSpec): number {
  return containers.reduce((total, { resources: { requests, limits } = {} }) => {
    const asked = requests?.memory ?? limits?.memory;
    return total + (asked === undefined ? 0 : parseQuantity(asked));
  }, 0);
}
