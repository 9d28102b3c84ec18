/** Whether an API server answers, and its version. */
import { UserError } from "@kws/base/errors";
import type { ClusterAccess } from "@kws/kube/kubeconfig";

/** Undefined where it does not answer within ten seconds. */
export async function serverVersion(access: ClusterAccess): Promise<string | undefined> {
  const [{ httpsTransport }, { KubeClient }] = await Promise.all([
    import("@kws/kube/https"),
    import("@kws/kube/client"),
  ]);
  const transport = httpsTransport(access);
  try {
    const client = new KubeClient(transport);
    const answer = await client.request({
      method: "GET",
      path: "/version",
      signal: AbortSignal.timeout(10_000),
    });
    return typeof answer["gitVersion"] === "string" ? answer["gitVersion"] : "unknown";
  } catch (error) {
    if (error instanceof UserError && error.code === "tool-missing") return undefined;
    if (error instanceof DOMException && error.name === "TimeoutError") return undefined;
    throw error;
  } finally {
    transport.close();
  }
}
