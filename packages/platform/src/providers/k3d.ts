/** k3d: k3s in Docker containers (https://k3d.io/stable/usage/commands/k3d_cluster/). */
import { type ClusterTool, saveKubeconfig, slowly, toolRunner, type ToolWorld } from "./cluster-tool.ts";
import { freePort } from "./free-port.ts";

interface ListedCluster {
  name: string;
  serversRunning: number;
  nodes: { name: string; role: string }[];
}

export function k3d(world: ToolWorld): ClusterTool {
  const install = "Install k3d (https://k3d.io/stable/#installation), or use another provider.";
  const { run } = toolRunner("k3d", install, world);
  const list = async () => JSON.parse(await run(["cluster", "list", "--output", "json"])) as ListedCluster[];
  return {
    name: "k3d",
    servesIngress: true,
    noSnapshots:
      "the data of a node is in volumes of its container, which neither k3d nor `docker commit` copies, and what its database " +
      "holds goes only with the token of that one cluster",
    async version() {
      return /k3d version v(\S+)/.exec(await run(["version"]))?.[1] ?? "unknown";
    },
    async list() {
      return (await list()).map(({ name, serversRunning }) => ({
        name,
        state: serversRunning > 0 ? "running" : "stopped",
      }));
    },
    async create(name, { ingressPort, ...options }) {
      // Unless told so, k3d listens on all addresses of the machine.
      const api = `127.0.0.1:${await freePort()}`;
      const ports = ["--port", `127.0.0.1:${ingressPort}:80@loadbalancer`];
      const own = ["--kubeconfig-update-default=false", "--kubeconfig-switch-context=false"];
      const args = ["cluster", "create", name, "--api-port", api, ...ports, ...own, "--wait"];
      await run(args, { timeoutMs: slowly, ...options });
    },
    async start(name, options) {
      await run(["cluster", "start", name, "--wait"], { timeoutMs: slowly, ...options });
    },
    async stop(name) {
      await run(["cluster", "stop", name], { timeoutMs: slowly });
    },
    async remove(name) {
      await run(["cluster", "delete", name], { timeoutMs: slowly });
    },
    async kubeconfig(name) {
      return saveKubeconfig(world.kubeconfig(name), await run(["kubeconfig", "get", name]));
    },
    async nodes(name) {
      const cluster = (await list()).find((one) => one.name === name);
      return (cluster?.nodes ?? [])
        .filter(({ role }) => role === "server" || role === "agent")
        .map((node) => ({
          kind: "containerd",
          node: node.name,
          command: ["docker", "exec", "--interactive", node.name, "ctr"],
        }));
    },
  };
}
