/** Whom a container runs as, from the security contexts of pod and container and from its image. */
import type { Image, ResolveUser } from "../images/image.ts";
import { ContainerConfigError } from "./environment.ts";
import { formatPod, type Pod, type PodContainer } from "./pod.ts";

export async function containerUser(
  pod: Pod,
  container: PodContainer,
  image: Image,
  resolveUser: ResolveUser,
): Promise<{ uid: number; gid: number; additionalGids: number[]; home: string }> {
  const podContext = pod.spec.securityContext ?? {};
  const own = container.securityContext ?? {};
  const runAsUser = own.runAsUser ?? podContext.runAsUser;
  const runAsGroup = own.runAsGroup ?? podContext.runAsGroup;
  const fromImage = image.config.User ?? "";
  const name = runAsUser === undefined ? fromImage : String(runAsUser);
  const resolved =
    name === "" || name === "0"
      ? { uid: 0, gid: 0, additionalGids: [], home: "/root" }
      : await resolveUser(image.layers, name);
  if (own.runAsNonRoot ?? podContext.runAsNonRoot) {
    const where = `(pod: "${formatPod(pod)}", container: ${container.name})`;
    const [imageUser = ""] = fromImage.split(":");
    if (runAsUser === undefined && imageUser !== "" && !/^[0-9]+$/.test(imageUser)) {
      throw new ContainerConfigError(
        `container has runAsNonRoot and image has non-numeric user (${imageUser}), cannot verify user is non-root ${where}`,
      );
    }
    if (resolved.uid === 0) {
      throw new ContainerConfigError(
        runAsUser === 0
          ? `container's runAsUser breaks non-root policy ${where}`
          : `container has runAsNonRoot and image will run as root ${where}`,
      );
    }
  }
  const { fsGroup, supplementalGroups = [] } = podContext;
  const groups = [
    ...resolved.additionalGids,
    ...supplementalGroups,
    ...(fsGroup === undefined ? [] : [fsGroup]),
  ];
  return { ...resolved, gid: runAsGroup ?? resolved.gid, additionalGids: [...new Set(groups)] };
}
