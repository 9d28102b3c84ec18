/** The namespaces that a cluster cannot be without are not deleted. */
import type { AdmissionContext } from "./context.ts";
import { isKind, refuse } from "./failures.ts";

const immortal = new Set(["default", "kube-system", "kube-public"]);

export function protectNamespaces(context: AdmissionContext): void {
  if (context.operation !== "DELETE" || !isKind(context, "", "namespaces")) return;
  if (immortal.has(context.old?.metadata.name ?? context.object?.metadata.name ?? "")) {
    throw refuse(context, "this namespace may not be deleted");
  }
}
