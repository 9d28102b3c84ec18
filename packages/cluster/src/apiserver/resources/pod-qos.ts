/** The quality-of-service class of a pod, from its cpu and memory requests and limits. */
import { compareQuantities, isQuantity } from "@kws/kube/quantity";
import { list } from "./loose.ts";
import type { Fields } from "./resource.ts";

const counted = ["cpu", "memory"];

/** As https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/ defines the classes. */
export function qosClassOf(spec: Fields): "Guaranteed" | "Burstable" | "BestEffort" {
  const containers = [...list(spec["initContainers"]), ...list(spec["containers"])];
  const named = containers.flatMap(({ resources }) =>
    counted.flatMap((name) => [resources?.requests?.[name], resources?.limits?.[name]]),
  );
  if (!named.some((value) => isQuantity(value) && compareQuantities(value, 0) > 0)) return "BestEffort";
  const guaranteed = containers.every(({ resources }) =>
    counted.every((name) => {
      const limit = resources?.limits?.[name];
      const request = resources?.requests?.[name] ?? limit;
      return (
        isQuantity(limit) &&
        isQuantity(request) &&
        compareQuantities(limit, 0) > 0 &&
        compareQuantities(limit, request) === 0
      );
    }),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}
