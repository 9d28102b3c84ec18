/** How the far side of a synchronisation is reached: by running a command in a container, through the Kubernetes API. */
import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { KubeconfigRef } from "../../providers/provider.ts";

/** A command that runs on the far side, and its streams. */
export interface RemoteProcess {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  /** Resolves when the command has ended or the connection is lost, with the exit code where there is one. */
  ended: Promise<number | undefined>;
  /** Ends the connection. */
  kill(): void;
}

export interface Remote {
  /** For messages, such as `container web of pod shop/web-7d5`. */
  name: string;
  /** Starts a command. It is called again after every lost connection, and may lead to another container then. */
  open(command: string[]): Promise<RemoteProcess> | RemoteProcess;
}

export interface PodTarget {
  kubeconfig: KubeconfigRef;
  namespace: string;
  /** The name of the running pod; asked before every connection, since a replaced pod has another one. */
  pod: () => Promise<string> | string;
  container: string;
  /** kubectl's file and environment. */
  kubectl: string;
  env: NodeJS.ProcessEnv;
}

/**
 * A container, through `kubectl exec`: it knows credential plugins, proxies, both streaming protocols, and keeps idle
 * connections alive.
 */
export function containerRemote(target: PodTarget): Remote {
  const { kubeconfig, namespace, container } = target;
  return {
    name: `container ${container} in namespace ${namespace}`,
    async open(command) {
      const args = ["--kubeconfig", kubeconfig.path, "--namespace", namespace];
      if (kubeconfig.context !== undefined) args.push("--context", kubeconfig.context);
      args.push("exec", "--quiet", "--stdin", await target.pod(), "--container", container, "--");
      return processRemote(target.kubectl, [...args, ...command], target.env);
    },
  };
}

/** A process of this machine as a far side. In a process group of its own: Ctrl-C in the terminal does not end it. */
export function processRemote(file: string, args: string[], env: NodeJS.ProcessEnv): RemoteProcess {
  const child = spawn(file, args, { env, stdio: ["pipe", "pipe", "pipe"], detached: true });
  // Writing to a process that has ended fails here, and reading ends: the latter is acted upon.
  child.stdin.on("error", () => {});
  const ended = new Promise<number | undefined>((resolve) => {
    child.once("error", () => resolve(undefined));
    child.once("close", (code) => resolve(code ?? undefined));
  });
  return {
    stdin: child.stdin,
    stdout: child.stdout,
    stderr: child.stderr,
    ended,
    kill: () => void child.kill("SIGKILL"),
  };
}
