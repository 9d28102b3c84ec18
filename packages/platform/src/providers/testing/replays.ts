/** Which command of which tool gets which recorded answer, and what it does to a pretended cluster called `kws`. */
import type { ToolName } from "../../project/provider-names.ts";

/** `hung` runs, and its API server does not answer. */
export type State = "absent" | "stopped" | "running" | "hung";

export interface Reply {
  /** `*` stands for any one word. */
  args: string[];
  /** A file of the tool's folder, or one of the pretended cluster's: `kubeconfig`. */
  stdout?: string | Partial<Record<State, string>>;
  exit?: Partial<Record<State, number>>;
  /** The state afterwards. */
  to?: State;
  /** Writes the cluster's kubeconfig to the file that `KUBECONFIG` names, as minikube does. */
  writesKubeconfig?: true;
}

export interface Replay {
  /** Below `testdata`. */
  folder: string;
  /** The state before anything was done. */
  initially: State;
  /** The name of its context in the kubeconfig. */
  context: string;
  programs: Record<string, Reply[]>;
}

const kindPs = [
  "ps --all --filter label=io.x-k8s.kind.cluster --format".split(" "),
  '{{.Names}}\t{{.State}}\t{{.Label "io.x-k8s.kind.cluster"}}\t{{.Label "io.x-k8s.kind.role"}}',
].flat();

const words = (line: string) => line.split(" ");

export const replays: Record<ToolName, Replay> = {
  k3d: {
    folder: "k3d-5.9.0",
    initially: "absent",
    context: "k3d-kws",
    programs: {
      k3d: [
        { args: ["version"], stdout: "version.txt" },
        {
          args: words("cluster list --output json"),
          stdout: {
            absent: "list-none.json",
            stopped: "list-stopped.json",
            running: "list-running.json",
            hung: "list-running.json",
          },
        },
        {
          args: words(
            "cluster create kws --api-port * --port * --kubeconfig-update-default=false --kubeconfig-switch-context=false --wait",
          ),
          to: "running",
        },
        { args: words("cluster start kws --wait"), to: "running" },
        { args: words("cluster stop kws"), to: "stopped" },
        { args: words("cluster delete kws"), to: "absent" },
        { args: words("kubeconfig get kws"), stdout: "kubeconfig" },
      ],
    },
  },
  kind: {
    folder: "kind-0.29.0",
    initially: "absent",
    context: "kind-kws",
    programs: {
      kind: [
        { args: ["version"], stdout: "version.txt" },
        { args: words("create cluster --name kws --kubeconfig * --config - --wait 5m"), to: "running" },
        { args: words("delete cluster --name kws --kubeconfig *"), to: "absent" },
        { args: words("get kubeconfig --name kws"), stdout: "kubeconfig" },
      ],
      docker: [
        {
          args: kindPs,
          stdout: { stopped: "ps-stopped.txt", running: "ps-running.txt", hung: "ps-running.txt" },
        },
        { args: words("start kws-control-plane"), to: "running" },
        { args: words("stop kws-control-plane"), to: "stopped" },
      ],
    },
  },
  minikube: {
    folder: "minikube-1.26.1",
    initially: "absent",
    context: "kws",
    programs: {
      minikube: [
        { args: words("version --output json"), stdout: "version.json" },
        {
          args: words("profile list --output json"),
          stdout: {
            absent: "profiles-none.json",
            stopped: "profiles-stopped.json",
            running: "profiles-running.json",
            hung: "profiles-running.json",
          },
        },
        {
          args: words("start --interactive=false --container-runtime containerd --profile kws"),
          to: "running",
          writesKubeconfig: true,
        },
        { args: words("start --interactive=false --profile kws"), to: "running", writesKubeconfig: true },
        { args: words("update-context --profile kws"), writesKubeconfig: true },
        { args: words("stop --profile kws"), to: "stopped" },
        { args: words("delete --profile kws"), to: "absent" },
      ],
    },
  },
  microk8s: {
    folder: "microk8s-1.31.3",
    initially: "stopped",
    context: "microk8s",
    programs: {
      microk8s: [
        { args: ["version"], stdout: "version.txt" },
        {
          args: words("status --format yaml"),
          stdout: {
            stopped: "status-stopped.yaml",
            running: "status-running.yaml",
            hung: "status-running.yaml",
          },
        },
        { args: ["start"], to: "running" },
        { args: words("status --wait-ready --timeout 300") },
        { args: ["stop"], to: "stopped" },
        { args: ["reset"] },
        { args: ["config"], stdout: "kubeconfig" },
      ],
    },
  },
  k3s: {
    folder: "k3s-1.33.4",
    initially: "stopped",
    context: "default",
    programs: {
      k3s: [
        { args: ["--version"], stdout: "version.txt" },
        {
          args: words("kubectl --kubeconfig /etc/rancher/k3s/k3s.yaml config view --raw"),
          stdout: "kubeconfig",
        },
      ],
      systemctl: [
        {
          args: words("is-active k3s"),
          stdout: { stopped: "inactive.txt", running: "active.txt", hung: "active.txt" },
          exit: { stopped: 3 },
        },
        { args: words("start k3s"), to: "running" },
      ],
      "k3s-killall.sh": [{ args: [], to: "stopped" }],
    },
  },
  "docker-desktop": {
    folder: "docker-desktop-4.37",
    initially: "stopped",
    context: "docker-desktop",
    programs: {
      docker: [
        { args: words("desktop version"), stdout: "version.txt" },
        {
          args: words("desktop status"),
          stdout: {
            stopped: "status-stopped.txt",
            running: "status-running.txt",
            hung: "status-running.txt",
          },
        },
        { args: words("desktop start"), to: "running" },
        { args: words("desktop kubernetes reset-cluster") },
      ],
    },
  },
};
