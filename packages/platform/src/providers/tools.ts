/** The tools by name, each loaded when it is needed. */
import type { ToolName } from "../project/provider-names.ts";
import type { ClusterTool, ToolWorld } from "./cluster-tool.ts";

const files: Record<ToolName, () => Promise<(world: ToolWorld) => ClusterTool>> = {
  "docker-desktop": async () => (await import("./docker-desktop.ts")).dockerDesktop,
  k3d: async () => (await import("./k3d.ts")).k3d,
  k3s: async () => (await import("./k3s.ts")).k3s,
  kind: async () => (await import("./kind.ts")).kind,
  microk8s: async () => (await import("./microk8s.ts")).microk8s,
  minikube: async () => (await import("./minikube.ts")).minikube,
};

export async function openTool(name: ToolName, world: ToolWorld): Promise<ClusterTool> {
  return (await files[name]())(world);
}
