/**
 * k3s on this machine without Docker: the service that its installer makes of the one binary
 * (https://docs.k3s.io/installation). It belongs to root: others need sudo without a password for it.
 */
import { UserError } from "@kws/base/errors";
import {
  type ClusterTool,
  saveKubeconfig,
  slowly,
  toolFailure,
  toolRunner,
  type ToolOptions,
  type ToolWorld,
} from "./cluster-tool.ts";

const only = "k3s";
const install = "Install k3s as a service (https://docs.k3s.io/quick-start), or use another provider.";

export function k3s(world: ToolWorld): ClusterTool {
  const root = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  const asRoot = async (command: string[], options?: ToolOptions & { timeoutMs?: number }) => {
    const [program = "", ...args] = [...root, ...command];
    return toolRunner(program, install, world).run(args, options);
  };
  const { run } = toolRunner("k3s", install, world);
  return {
    name: "k3s",
    only,
    async version() {
      return /k3s version v(\S+)/.exec(await run(["--version"]))?.[1] ?? "unknown";
    },
    async list() {
      // It exits with 3 for a service that does not run, and with 4 where there is none (systemctl(1)).
      const systemctl = toolRunner("systemctl", "k3s is started by systemd, which is not here.", world);
      const result = await systemctl.attempt(["is-active", "k3s"]);
      const said = result.stdout.trim();
      if (said === "active") return [{ name: only, state: "running" }];
      if (said === "activating" || said === "reloading") return [{ name: only, state: "unreachable" }];
      if (result.exitCode === 3) return [{ name: only, state: "stopped" }];
      if (result.exitCode !== 4) throw toolFailure("systemctl", result);
      throw new UserError("k3s is here, and there is no service k3s", { code: "tool-missing", fix: install });
    },
    async start(_name, options) {
      await asRoot(["systemctl", "start", "k3s"], { timeoutMs: slowly, ...options });
    },
    /** Stopping the service leaves the containers running; the installer's script ends them too. */
    async stop() {
      await asRoot(["k3s-killall.sh"], { timeoutMs: slowly });
    },
    async remove() {
      throw new UserError("k3s cannot be emptied without removing it", {
        code: "usage",
        fix: "Run `k3s-uninstall.sh`, and install it again.",
      });
    },
    async kubeconfig() {
      const text = await asRoot([
        "k3s",
        "kubectl",
        "--kubeconfig",
        "/etc/rancher/k3s/k3s.yaml",
        "config",
        "view",
        "--raw",
      ]);
      return saveKubeconfig(world.kubeconfig(only), text);
    },
    async nodes() {
      return [{ kind: "containerd", node: only, command: [...root, "k3s", "ctr"] }];
    },
  };
}
