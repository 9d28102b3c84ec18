/** A pod's priority class becomes a number; classes themselves must agree on one global default. */
import { priorityClasses } from "@kws/kube/resources";
import type { Fields } from "../resources/resource.ts";
import type { AdmissionContext } from "./context.ts";
import { isKind, refuse } from "./failures.ts";

/** Classes that exist in every cluster. */
const system: Record<string, number> = {
  "system-cluster-critical": 2_000_000_000,
  "system-node-critical": 2_000_001_000,
};

export function resolvePriority(context: AdmissionContext): void {
  const { object, operation, subresource } = context;
  if (object === undefined || subresource) return;
  if (isKind(context, "scheduling.k8s.io", "priorityclasses")) return checkGlobalDefault(context);
  if (!isKind(context, "", "pods")) return;
  const spec: Fields = (object["spec"] ??= {});
  if (operation === "UPDATE") {
    spec["priority"] ??= context.old?.["spec"]?.priority;
    spec["preemptionPolicy"] ??= context.old?.["spec"]?.preemptionPolicy;
    return;
  }
  const name: string = spec["priorityClassName"] || "";
  const found =
    name === ""
      ? context.list(priorityClasses).find((one) => one["globalDefault"] === true)
      : context.get(priorityClasses, name);
  if (name !== "" && found === undefined && system[name] === undefined) {
    throw refuse(context, `no PriorityClass with name ${name} was found`);
  }
  const priority: number = found?.["value"] ?? system[name] ?? 0;
  if (found !== undefined) spec["priorityClassName"] = found.metadata.name;
  if (spec["priority"] !== undefined && spec["priority"] !== null && spec["priority"] !== priority) {
    throw refuse(
      context,
      `the integer value of priority (${spec["priority"]}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
    );
  }
  spec["priority"] = priority;
  spec["preemptionPolicy"] ??= found?.["preemptionPolicy"] ?? "PreemptLowerPriority";
}

function checkGlobalDefault(context: AdmissionContext): void {
  const { object } = context;
  if (context.operation === "DELETE" || object?.["globalDefault"] !== true) return;
  const other = context
    .list(priorityClasses)
    .find((one) => one["globalDefault"] === true && one.metadata.name !== object.metadata.name);
  if (other !== undefined) {
    throw refuse(
      context,
      `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`,
    );
  }
}
