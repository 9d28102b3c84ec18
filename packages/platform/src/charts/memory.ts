/** The memory that the pods of rendered manifests ask for: known before there is any. What is malformed is the API server's to refuse. */
import { parseQuantity } from "@kws/kube/quantity";
import { parseAllDocuments } from "yaml";
import { isMapping } from "./layers.ts";

/** Bytes, of all replicas. DaemonSets, whose number is the cluster's, and Jobs and hooks, which end, are left out. */
export function requestedMemory(manifests: string): number {
  const documents = parseAllDocuments(manifests, { logLevel: "error" });
  const sound = Array.isArray(documents) ? documents.filter(({ errors }) => errors.length === 0) : [];
  return sum(sound.map((document) => memoryOf(document.toJS() as unknown)));
}

function memoryOf(object: unknown): number {
  if (field(object, "metadata", "annotations", "helm.sh/hook") !== undefined) return 0;
  const kind = field(object, "kind");
  if (kind === "Pod") return memoryOfPod(field(object, "spec"));
  if (kind !== "Deployment" && kind !== "StatefulSet") return 0;
  const replicas = Number(field(object, "spec", "replicas") ?? 1);
  return (replicas > 0 ? replicas : 0) * memoryOfPod(field(object, "spec", "template", "spec"));
}

/** What has a limit and no request asks for its limit. */
function memoryOfPod(spec: unknown): number {
  const containers = field(spec, "containers");
  return sum(
    (Array.isArray(containers) ? containers : []).map((container: unknown) => memoryOfContainer(container)),
  );
}

function memoryOfContainer(container: unknown): number {
  const asked =
    field(container, "resources", "requests", "memory") ?? field(container, "resources", "limits", "memory");
  if (typeof asked === "number") return asked;
  return typeof asked === "string" && /^\d+(\.\d+)?([kMGTPE]|[KMGTPE]i)?$/.test(asked)
    ? parseQuantity(asked)
    : 0;
}

/** Undefined where the keys lead nowhere, or to null. */
function field(object: unknown, ...keys: string[]): unknown {
  let found = object;
  for (const key of keys) found = isMapping(found) ? found[key] : undefined;
  return found ?? undefined;
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
