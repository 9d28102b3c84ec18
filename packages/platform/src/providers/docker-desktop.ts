/**
 * The Kubernetes of Docker Desktop (https://docs.docker.com/desktop/features/kubernetes/). It is switched on in the
 * settings, and runs while Docker Desktop does; images of its engine are images of the cluster.
 */
import { UserError } from "@kws/base/errors";
import { kubeconfigPaths, readKubeconfig } from "@kws/kube/kubeconfig";
import { type ClusterTool, slowly, toolRunner, type ToolWorld } from "./cluster-tool.ts";

const only = "docker-desktop";

export function dockerDesktop(world: ToolWorld): ClusterTool {
  const install =
    "Install Docker Desktop 4.37 or newer (https://docs.docker.com/desktop/), or use another provider.";
  const { run, attempt } = toolRunner("docker", install, world);
  const context = async () => {
    const config = await readKubeconfig(kubeconfigPaths(undefined, world.env, world.home));
    const found = config.contexts.find(({ name }) => name === only);
    const server = config.clusters.get(found?.cluster ?? "")?.fields["server"];
    return found === undefined || typeof server !== "string" ? undefined : { path: found.path, server };
  };
  const version = async () => {
    const { exitCode, stdout } = await attempt(["desktop", "version"]);
    if (exitCode === 0) return /\d+\.\d+\.\d+\S*/.exec(stdout)?.[0] ?? "unknown";
    throw new UserError("Docker Desktop is not installed", { code: "tool-missing", fix: install });
  };
  return {
    name: "docker-desktop",
    only,
    version,
    async list() {
      const { exitCode, stdout } = await attempt(["desktop", "status"]);
      if (exitCode !== 0) await version();
      const runs = exitCode === 0 && /\brunning\b/i.test(stdout) && (await context()) !== undefined;
      return [{ name: only, state: runs ? "running" : "stopped" }];
    },
    async start(_name, options) {
      await run(["desktop", "start"], { timeoutMs: slowly, ...options });
      if ((await context()) !== undefined) return;
      throw new UserError("Kubernetes is not switched on in Docker Desktop", {
        code: "tool-missing",
        fix: "Switch it on in its settings, under Kubernetes, and run the command again.",
      });
    },
    async stop() {
      throw new UserError("the cluster of Docker Desktop stops with Docker Desktop alone", {
        code: "usage",
        fix: "Run `docker desktop stop`, which ends all of its containers.",
      });
    },
    async remove() {
      await run(["desktop", "kubernetes", "reset-cluster"], { timeoutMs: slowly });
    },
    async kubeconfig() {
      const found = await context();
      // The user may have given that name to another cluster.
      if (found === undefined || !isHere(found.server)) {
        throw new UserError(`the context ${only} of your kubeconfig does not lead to this machine`, {
          code: "config",
          fix: "Switch Kubernetes off and on in Docker Desktop's settings, which writes the context anew.",
        });
      }
      return { path: found.path, context: only };
    },
    async nodes() {
      // The current context of the docker command may be another engine.
      return [{ kind: "docker", node: only, command: ["docker", "--context", "desktop-linux"] }];
    },
  };
}

function isHere(server: string): boolean {
  return /^https:\/\/(127\.0\.0\.1|localhost|kubernetes\.docker\.internal)(:\d+)?\/?$/.test(server);
}
