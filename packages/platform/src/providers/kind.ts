/**
 * kind: kubeadm's Kubernetes in Docker containers (https://kind.sigs.k8s.io). It makes and deletes clusters, and has no
 * commands to stop and start them: that is done with their containers, which it labels.
 */
import { type ClusterTool, saveKubeconfig, slowly, toolRunner, type ToolWorld } from "./cluster-tool.ts";

interface NodeContainer {
  name: string;
  running: boolean;
  cluster: string;
  role: string;
}

const clusterLabel = "io.x-k8s.kind.cluster";
const roleLabel = "io.x-k8s.kind.role";

/** One node, to which Ingress controllers made for kind go by its label (https://kind.sigs.k8s.io/docs/user/ingress/). */
function configuration(ingressPort: number): object {
  const http = { containerPort: 80, hostPort: ingressPort, listenAddress: "127.0.0.1", protocol: "TCP" };
  return {
    apiVersion: "kind.x-k8s.io/v1alpha4",
    kind: "Cluster",
    nodes: [{ role: "control-plane", labels: { "ingress-ready": "true" }, extraPortMappings: [http] }],
  };
}

export function kind(world: ToolWorld): ClusterTool {
  const install =
    "Install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation), or use another provider.";
  const { run } = toolRunner("kind", install, world);
  const { run: docker } = toolRunner("docker", "Install Docker, or use the embedded cluster.", world);
  const containers = async (): Promise<NodeContainer[]> => {
    const fields = ["{{.Names}}", "{{.State}}", `{{.Label "${clusterLabel}"}}`, `{{.Label "${roleLabel}"}}`];
    const filter = ["--filter", `label=${clusterLabel}`];
    const lines = await docker(["ps", "--all", ...filter, "--format", fields.join("\t")]);
    return lines
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [name = "", state = "", cluster = "", role = ""] = line.split("\t");
        return { name, running: state === "running", cluster, role };
      });
  };
  /** Control planes first: the others want to reach them. */
  const nodesOf = async (name: string) =>
    (await containers())
      .filter(({ cluster }) => cluster === name)
      .sort((a, b) => Number(b.role === "control-plane") - Number(a.role === "control-plane"));
  return {
    name: "kind",
    servesIngress: true,
    noSnapshots:
      "the data of a node is in volumes of its container, which neither kind nor `docker commit` copies, and what etcd " +
      "holds goes only with the certificates of that one cluster",
    async version() {
      return /kind v(\S+)/.exec(await run(["version"]))?.[1] ?? "unknown";
    },
    async list() {
      // Docker alone could answer, and then nothing else would work.
      const [all] = await Promise.all([containers(), run(["version"])]);
      return [...new Set(all.map(({ cluster }) => cluster))].map((name) => ({
        name,
        state: all.some(
          ({ cluster, role, running }) => cluster === name && role === "control-plane" && running,
        )
          ? "running"
          : "stopped",
      }));
    },
    async create(name, { ingressPort, ...options }) {
      const place = ["--name", name, "--kubeconfig", world.kubeconfig(name)];
      const args = ["create", "cluster", ...place, "--config", "-", "--wait", "5m"];
      const input = JSON.stringify(configuration(ingressPort));
      await run(args, { timeoutMs: slowly, input, ...options });
    },
    async start(name, options) {
      const names = (await nodesOf(name)).map((node) => node.name);
      await docker(["start", ...names], { timeoutMs: slowly, ...options });
    },
    async stop(name) {
      const names = (await nodesOf(name)).map((node) => node.name);
      await docker(["stop", ...names.reverse()], { timeoutMs: slowly });
    },
    async remove(name) {
      const args = ["delete", "cluster", "--name", name, "--kubeconfig", world.kubeconfig(name)];
      await run(args, { timeoutMs: slowly });
    },
    async kubeconfig(name) {
      return saveKubeconfig(world.kubeconfig(name), await run(["get", "kubeconfig", "--name", name]));
    },
    async nodes(name) {
      return (await nodesOf(name))
        .filter(({ role }) => role === "control-plane" || role === "worker")
        .map((node) => ({
          kind: "containerd",
          node: node.name,
          command: ["docker", "exec", "--interactive", node.name, "ctr"],
        }));
    },
  };
}
