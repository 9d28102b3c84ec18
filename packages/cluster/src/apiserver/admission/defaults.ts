/** Small additions: how long pods tolerate a lost node, and the class of claims that name none. */
import { storageClasses } from "@kws/kube/resources";
import { list } from "../resources/loose.ts";
import type { AdmissionContext } from "./context.ts";
import { isKind } from "./failures.ts";

const lostNode = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/** DefaultTolerationSeconds: five minutes, unless the pod says something about the taint itself. */
export function setTolerationSeconds(context: AdmissionContext): void {
  const { object, operation, subresource } = context;
  if (operation !== "CREATE" || subresource || object === undefined || !isKind(context, "", "pods")) return;
  const tolerations = list(object["spec"]?.tolerations);
  for (const key of lostNode) {
    const tolerated = tolerations.some(
      (one) => (!one["key"] || one["key"] === key) && (!one["effect"] || one["effect"] === "NoExecute"),
    );
    if (!tolerated)
      tolerations.push({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 });
  }
  object["spec"].tolerations = tolerations;
}

/** DefaultStorageClass: the newest class that is marked as default; an empty class name asks for none. */
export function setStorageClass(context: AdmissionContext): void {
  const { object, operation, subresource } = context;
  if (operation !== "CREATE" || subresource || object === undefined) return;
  if (!isKind(context, "", "persistentvolumeclaims")) return;
  if (typeof object["spec"]?.storageClassName === "string") return;
  if (object.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] !== undefined) return;
  const defaults = context
    .list(storageClasses)
    .filter(
      ({ metadata }) => metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true",
    )
    .sort((a, b) => {
      const [left = "", right = ""] = [b.metadata.creationTimestamp, a.metadata.creationTimestamp];
      return left === right ? (a.metadata.name < b.metadata.name ? -1 : 1) : left < right ? -1 : 1;
    });
  if (defaults[0] !== undefined) object["spec"].storageClassName = defaults[0].metadata.name;
}

/** A CertificateSigningRequest says who asks for it, whatever its author writes there. */
export function setRequester(context: AdmissionContext): void {
  const { object, operation, user } = context;
  if (operation !== "CREATE" || object === undefined) return;
  if (!isKind(context, "certificates.k8s.io", "certificatesigningrequests")) return;
  const { uid: _uid, extra: _extra, ...spec } = (object["spec"] ?? {}) as Record<string, unknown>;
  object["spec"] = { ...spec, username: user.name, groups: user.groups };
}
