/** MicroK8s: one Kubernetes for the machine, from a snap (https://microk8s.io/docs/command-reference). */
import { type ClusterTool, saveKubeconfig, slowly, toolRunner, type ToolWorld } from "./cluster-tool.ts";

const only = "microk8s";

export function microk8s(world: ToolWorld): ClusterTool {
  const install =
    "Install it with `sudo snap install microk8s --classic` (https://microk8s.io/docs/getting-started), or use another provider.";
  const { run, attempt } = toolRunner("microk8s", install, world);
  return {
    name: "microk8s",
    only,
    async version() {
      return /MicroK8s v(\S+)/.exec(await run(["version"]))?.[1] ?? "unknown";
    },
    async list() {
      // It fails where MicroK8s was stopped, and says so.
      const { stdout, stderr } = await attempt(["status", "--format", "yaml"]);
      if (/^ *running: true$/im.test(stdout)) return [{ name: only, state: "running" }];
      const stopped = /running: false|is not running/i.test(`${stdout}\n${stderr}`);
      return [{ name: only, state: stopped ? "stopped" : "unreachable" }];
    },
    async start(_name, options) {
      await run(["start"], { timeoutMs: slowly, ...options });
      await run(["status", "--wait-ready", "--timeout", "300"], { timeoutMs: slowly, ...options });
    },
    async stop() {
      await run(["stop"], { timeoutMs: slowly });
    },
    async remove() {
      await run(["reset"], { timeoutMs: slowly });
    },
    async kubeconfig() {
      return saveKubeconfig(world.kubeconfig(only), await run(["config"]));
    },
    async nodes() {
      return [{ kind: "containerd", node: only, command: ["microk8s", "ctr"] }];
    },
  };
}
