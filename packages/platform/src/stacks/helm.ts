/** One Helm release: installed or upgraded, and removed. Values go through standard input, never through arguments. */
import { existsSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { UserError } from "@kws/base/errors";
import { exec, lastLines } from "@kws/base/exec";
import type { Logger } from "@kws/base/logger";
import { chartFault } from "../charts/render.ts";
import type { KubeconfigRef } from "../providers/provider.ts";

export interface HelmOptions {
  /** The program. */
  helm: string;
  kubeconfig: KubeconfigRef;
  namespace: string;
  env: NodeJS.ProcessEnv;
  log: Logger;
  signal?: AbortSignal;
}

export interface UpgradeOptions extends HelmOptions {
  release: string;
  chart: string;
  values: Record<string, unknown>;
  /** Takes secrets out of what Helm says. */
  hide: (text: string) => string;
  /** Kept on Helm's own Secret of the release. */
  labels: Record<string, string>;
  /** For `helm history`; Helm's own words unless given. */
  description?: string;
  timeoutMs: number;
}

/**
 * `helm upgrade --install`. Helm waits for hooks alone: kws itself waits for the workloads, to see at once why they fail.
 */
export async function upgrade(options: UpgradeOptions): Promise<void> {
  const labels = Object.entries(options.labels).map(([key, value]) => `${key}=${value}`);
  const args = [
    "upgrade",
    "--install",
    "--wait=hookOnly",
    "--hide-notes",
    "--history-max=10",
    `--timeout=${Math.ceil(options.timeoutMs / 1000)}s`,
    `--labels=${labels.join(",")}`,
    ...(options.description === undefined ? [] : [`--description=${options.description}`]),
    "--values=-",
    "--",
    options.release,
    options.chart,
  ];
  await helm(options, args, { release: options.release, upgrade: options });
}

/** `helm rollback`; like `upgrade` it waits for hooks alone. */
export async function rollback(
  options: HelmOptions & { release: string; revision: number; timeoutMs: number },
): Promise<void> {
  const timeout = `--timeout=${Math.ceil(options.timeoutMs / 1000)}s`;
  const args = ["rollback", "--wait=hookOnly", timeout, "--", options.release, String(options.revision)];
  await helm(options, args, { release: options.release });
}

export async function uninstall(
  options: HelmOptions & { release: string; timeoutMs: number },
): Promise<void> {
  const timeout = `${Math.ceil(options.timeoutMs / 1000)}s`;
  const args = ["uninstall", "--ignore-not-found", "--wait", "--timeout", timeout, "--", options.release];
  await helm(options, args, { release: options.release });
}

async function helm(
  options: HelmOptions,
  args: string[],
  { release, upgrade }: { release: string; upgrade?: UpgradeOptions },
): Promise<void> {
  const { kubeconfig } = options;
  const target = ["--namespace", options.namespace, "--kubeconfig", kubeconfig.path];
  if (kubeconfig.context !== undefined) target.push("--kube-context", kubeconfig.context);
  const [program, ...before] = boundToParent(options.helm, options.env);
  options.log.debug("run", { program: options.helm, args: [...target, ...args] });
  const result = await exec(program, [...before, ...target, ...args], {
    env: { ...withoutHelm(options.env), HELM_DRIVER: "secret" },
    // Ctrl-C reaches Helm once, through the signal: it then marks the release as failed and ends.
    detached: true,
    ...(upgrade === undefined ? {} : { input: JSON.stringify(upgrade.values) }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (result.exitCode === 0) return;
  if (result.exitCode === 128 + 9) {
    throw new UserError(`helm ${args[0]} ${release} was killed`, {
      fix: "Run the same command again to go on; if it happens again, the machine may be short of memory.",
    });
  }
  // Helm's log repeats what its last words say.
  const words = (result.stderr || result.stdout).replaceAll(/^level=.*$/gm, "");
  const last = lastLines(words, 6).replace(/^Error: /gm, "");
  const said = upgrade === undefined ? last : upgrade.hide(last);
  const fault = upgrade === undefined ? undefined : chartFault(said, upgrade.chart);
  if (fault !== undefined) throw fault;
  throw new UserError(`helm ${args[0]} ${release} failed: ${said}`, {
    code: /forbidden|unauthorized/i.test(said)
      ? "permission"
      : /conflict/i.test(said)
        ? "conflict"
        : "failed",
    fix: /cannot patch|conflict/i.test(said)
      ? "Undo the change that was made by hand, or remove the stack and start it again."
      : "Correct the chart or its values and start the stack again.",
  });
}

/**
 * Helm has a process group of its own and would outlive a kws that is killed, and go on changing the stack: where util-linux's
 * setpriv(1) is there, the kernel then tells it to end.
 */
function boundToParent(helm: string, env: NodeJS.ProcessEnv): [string, ...string[]] {
  const path = (env["PATH"] ?? "")
    .split(delimiter)
    .map((dir) => join(dir, "setpriv"))
    .find((candidate) => isAbsolute(candidate) && existsSync(candidate));
  return path === undefined ? [helm] : [path, "--pdeathsig", "TERM", "--", helm];
}

/** Variables that would send Helm to another place than the one that kws means. */
function withoutHelm(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(
    ([key]) => !/^(HELM_(NAMESPACE|DRIVER|KUBE.*|DEBUG)|KUBECONFIG|KWS_.*)$/.test(key),
  );
  return Object.fromEntries(kept);
}
