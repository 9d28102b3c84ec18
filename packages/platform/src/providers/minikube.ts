/** minikube: one or more nodes in containers or virtual machines (https://minikube.sigs.k8s.io/docs/commands/). */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { UserError } from "@kws/base/errors";
import {
  type ClusterTool,
  type RunOptions,
  slowly,
  toolFailure,
  type ToolOptions,
  toolRunner,
  type ToolWorld,
} from "./cluster-tool.ts";
import type { NodeStore } from "./node-store.ts";

interface Profile {
  Name: string;
  /** `OK` since 1.35, `Running` before; `Stopped`, `Paused`, … */
  Status: string;
  Config: {
    Driver: string;
    KubernetesConfig: { ContainerRuntime: string };
    /** The first node's name is empty. */
    Nodes: { Name: string }[];
  };
}

export function minikube(world: ToolWorld): ClusterTool {
  const install = "Install minikube (https://minikube.sigs.k8s.io/docs/start/), or use another provider.";
  const { run, attempt } = toolRunner("minikube", install, world);
  /** It writes contexts, and switches to them, in whatever the variable names. */
  const withOwn = async (name: string, args: string[], options: RunOptions = {}) => {
    const own = world.kubeconfig(name);
    await mkdir(dirname(own), { recursive: true, mode: 0o700 });
    return run([...args, "--profile", name], { ...options, env: { ...world.env, KUBECONFIG: own } });
  };
  const profiles = async (): Promise<Profile[]> => {
    // It fails where there is no profile yet, and its answer says so too.
    const result = await attempt(["profile", "list", "--output", "json"]);
    if (!result.stdout.startsWith("{")) throw toolFailure("minikube", result);
    return (JSON.parse(result.stdout) as { valid?: Profile[] }).valid ?? [];
  };
  const start = (name: string, more: string[], options: ToolOptions) =>
    withOwn(name, ["start", "--interactive=false", ...more], { timeoutMs: slowly, ...options });
  return {
    name: "minikube",
    async version() {
      const { minikubeVersion } = JSON.parse(await run(["version", "--output", "json"])) as {
        minikubeVersion: string;
      };
      return minikubeVersion.replace(/^v/, "");
    },
    async list() {
      return (await profiles()).map(({ Name, Status }) => ({
        name: Name,
        state: /^(OK|Running)$/.test(Status) ? "running" : Status === "Stopped" ? "stopped" : "unreachable",
      }));
    },
    async create(name, { ingressPort: _unused, ...options }) {
      await start(name, ["--container-runtime", "containerd"], options);
    },
    async start(name, options) {
      await start(name, [], options);
    },
    async stop(name) {
      await withOwn(name, ["stop"], { timeoutMs: slowly });
    },
    async remove(name) {
      await withOwn(name, ["delete"], { timeoutMs: slowly });
    },
    async kubeconfig(name) {
      // Writes what is missing, and the port that a container's restart may have changed.
      await withOwn(name, ["update-context"]);
      return { path: world.kubeconfig(name), context: name };
    },
    async nodes(name) {
      const profile = (await profiles()).find((one) => one.Name === name);
      return (profile?.Config.Nodes ?? []).map((node) => nodeOf(name, node.Name, profile?.Config));
    },
  };
}

function nodeOf(profile: string, node: string, config?: Profile["Config"]): NodeStore {
  const machine = node === "" ? profile : `${profile}-${node}`;
  const runtime = config?.KubernetesConfig.ContainerRuntime ?? "";
  if (runtime !== "containerd" && runtime !== "docker") {
    throw new UserError(
      `the minikube profile ${profile} runs containers with ${runtime}, which takes no images`,
      {
        code: "config",
        fix: "Make it anew with `minikube start --container-runtime containerd`.",
      },
    );
  }
  const driver = config?.Driver ?? "";
  const into =
    driver === "docker" || driver === "podman"
      ? [driver, "exec", "--interactive", machine]
      : // Only the system's own ssh hands standard input on.
        ["minikube", "ssh", "--profile", profile, "--native-ssh=false", "--node", machine, "--", "sudo"];
  return { kind: runtime, node: machine, command: [...into, runtime === "docker" ? "docker" : "ctr"] };
}
