/** What every namespace holds from its first moment: the ServiceAccount `default` and the cluster's root certificate. */
import type { KubeObject } from "@kws/kube/object";
import { configMaps, namespaces as namespaceResource, serviceAccounts } from "@kws/kube/resources";
import { ApiError } from "@kws/kube/status";
import { watch, type Controller, type ControllerContext } from "./context.ts";

const rootCaName = "kube-root-ca.crt";

/** The namespaces of objects with this one name; others wake nobody. */
function namespaceOf(name: string): (object: KubeObject) => string[] {
  return ({ metadata }) => (metadata.name === name ? [metadata.namespace ?? ""] : []);
}

export function serviceAccountController(ctx: ControllerContext): Controller {
  const namespaces = ctx.resource(namespaceResource);
  const accounts = ctx.resource(serviceAccounts);
  return {
    name: "serviceaccount-controller",
    watches: [watch(namespaces), watch(accounts, namespaceOf("default"), () => false)],
    async reconcile({ name: namespace }) {
      if (!isActiveNamespace(namespaces.get(namespace)) || accounts.get("default", namespace) !== undefined)
        return;
      const metadata = { name: "default", namespace };
      await unlessThere(accounts.create({ apiVersion: "v1", kind: "ServiceAccount", metadata }));
    },
  };
}

export function rootCaController(ctx: ControllerContext): Controller {
  const namespaces = ctx.resource(namespaceResource);
  const maps = ctx.resource(configMaps);
  const data = { "ca.crt": ctx.rootCa };
  return {
    name: "root-ca-certificate-publisher-controller",
    watches: [watch(namespaces), watch(maps, namespaceOf(rootCaName))],
    async reconcile({ name: namespace }) {
      if (!isActiveNamespace(namespaces.get(namespace))) return;
      const present = maps.get(rootCaName, namespace);
      if (present === undefined) {
        const annotations = {
          "kubernetes.io/description":
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
        };
        const metadata = { name: rootCaName, namespace, annotations };
        await unlessThere(maps.create({ apiVersion: "v1", kind: "ConfigMap", metadata, data }));
      } else if (present["data"]?.["ca.crt"] !== ctx.rootCa || Object.keys(present["data"]).length !== 1) {
        await maps.update({ ...present, data });
      }
    },
  };
}

function isActiveNamespace(namespace: KubeObject | undefined): boolean {
  return namespace !== undefined && namespace.metadata.deletionTimestamp === undefined;
}

async function unlessThere(creation: Promise<KubeObject>): Promise<void> {
  try {
    await creation;
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== "AlreadyExists") throw error;
  }
}
