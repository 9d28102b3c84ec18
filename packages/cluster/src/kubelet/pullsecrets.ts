/** The credentials that a pod brings for its images (https://kubernetes.io/docs/concepts/containers/images/#specifying-imagepullsecrets-on-a-pod). */
import { firstOf, secretCredentials } from "@kws/oci/credentials";
import type { CredentialSource } from "@kws/oci/credentials";
import type { KubeletContext } from "./context.ts";
import type { Pod } from "./pod.ts";

/** A Secret that is missing is told as an event, and the image is tried without it. */
export async function podCredentials(
  pod: Pod,
  { references, recorder }: Pick<KubeletContext, "references" | "recorder">,
): Promise<CredentialSource> {
  const { namespace = "" } = pod.metadata;
  const sources: CredentialSource[] = [];
  const missing: string[] = [];
  for (const { name = "" } of pod.spec.imagePullSecrets ?? []) {
    const secret = await references.get("Secret", namespace, name);
    if (secret === undefined) missing.push(name);
    else sources.push(secretCredentials(secret["data"] ?? {}, `the Secret ${namespace}/${name}`));
  }
  if (missing.length > 0) {
    const message =
      `Unable to retrieve some image pull secrets (${missing.join(", ")}); ` +
      "attempting to pull the image may not succeed.";
    recorder.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message);
  }
  return firstOf(...sources);
}
