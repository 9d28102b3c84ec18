/**
 * Pods run as a ServiceAccount that must exist, and find its token, the cluster's CA and their namespace in a projected
 * volume. Follows upstream's plugin/pkg/admission/serviceaccount.
 */
import { serviceAccounts } from "@kws/kube/resources";
import { list } from "../resources/loose.ts";
import type { Fields } from "../resources/resource.ts";
import type { AdmissionContext } from "./context.ts";
import { isKind, refuse } from "./failures.ts";

const mountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
const mirrorAnnotation = "kubernetes.io/config.mirror";

/**
 * How long a pod waits for the account `default` of its namespace, which a controller makes right after the namespace itself;
 * as upstream's ten attempts.
 */
const defaultAccountTimeoutMs = 1500;

export async function setServiceAccount(context: AdmissionContext): Promise<void> {
  const { object, operation, subresource } = context;
  if (operation !== "CREATE" || subresource || object === undefined || !isKind(context, "", "pods")) return;
  if (object.metadata.annotations?.[mirrorAnnotation] !== undefined) return;
  const spec: Fields = (object["spec"] ??= {});
  const name: string = spec["serviceAccountName"] || "default";
  spec["serviceAccountName"] = name;
  spec["serviceAccount"] = name;
  const { namespace = "default" } = object.metadata;
  let account = context.get(serviceAccounts, name, namespace);
  if (account === undefined && name === "default") {
    account = await context.waitFor(serviceAccounts, name, namespace, defaultAccountTimeoutMs);
  }
  if (account === undefined) {
    throw refuse(
      context,
      `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
    );
  }
  const automount = spec["automountServiceAccountToken"] ?? account["automountServiceAccountToken"] ?? true;
  if (automount === true) mountToken(spec);
  if (list(spec["imagePullSecrets"]).length === 0 && list(account["imagePullSecrets"]).length > 0) {
    spec["imagePullSecrets"] = list(account["imagePullSecrets"]).map((secret) => ({
      name: secret["name"] as string,
    }));
  }
}

function mountToken(spec: Fields): void {
  const containers = [...list(spec["initContainers"]), ...list(spec["containers"])];
  const without = containers.filter(
    (container) => !list(container["volumeMounts"]).some((mount) => mount["mountPath"] === mountPath),
  );
  if (without.length === 0) return;
  const existing = list(spec["volumes"]).find(({ name }) => String(name).startsWith("kube-api-access-"));
  const name: string = existing?.["name"] ?? `kube-api-access-${randomSuffix()}`;
  for (const container of without) {
    container["volumeMounts"] = [...list(container["volumeMounts"]), { name, readOnly: true, mountPath }];
  }
  if (existing === undefined) spec["volumes"] = [...list(spec["volumes"]), tokenVolume(name)];
}

/** Letters and digits that upstream draws generated names from: none that form words or look alike. */
function randomSuffix(): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  return [...crypto.getRandomValues(new Uint8Array(5))]
    .map((byte) => letters[byte % letters.length])
    .join("");
}

function tokenVolume(name: string): Fields {
  return {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        // Seven seconds above the hour tell bound tokens of this volume from those that were asked for.
        { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
        { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
        {
          downwardAPI: {
            items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }],
          },
        },
      ],
    },
  };
}
