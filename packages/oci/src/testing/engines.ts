/** A containerd and a Docker Engine for tests, each with its files in a folder that goes away. Only root can run them. */
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { exec } from "@kws/base/exec";
import { sleep } from "@kws/base/retry";
import { tempDir } from "@kws/base/tempdir";

export interface Engine extends AsyncDisposable {
  /** For `ctr` or `docker`. */
  env: NodeJS.ProcessEnv;
}

/** Why they cannot be run here; undefined where they can. */
export function enginesMissing(env: NodeJS.ProcessEnv): string | undefined {
  if (process.getuid?.() !== 0) return "only root can run container engines";
  const missing = ["containerd", "ctr", "dockerd", "docker"].filter((program) => !onPath(program, env));
  return missing.length === 0 ? undefined : `${missing.join(", ")} not installed: apt-get install docker.io`;
}

export function onPath(program: string, env: NodeJS.ProcessEnv): boolean {
  return (env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export async function startContainerd(env: NodeJS.ProcessEnv): Promise<Engine> {
  const folder = await tempDir("kws-containerd");
  const socket = join(folder.path, "containerd.sock");
  const config = join(folder.path, "config.toml");
  await writeFile(
    config,
    [
      "version = 2",
      `root = "${folder.path}/root"`,
      `state = "${folder.path}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\naddress = "${socket}"`,
    ].join("\n"),
  );
  const child = spawn("containerd", ["--config", config], { env, stdio: "ignore" });
  const own = { ...env, CONTAINERD_ADDRESS: socket };
  await answering(child, "ctr", ["version"], own);
  return { env: own, [Symbol.asyncDispose]: () => end(child, folder) };
}

export async function startDocker(env: NodeJS.ProcessEnv): Promise<Engine> {
  const folder = await tempDir("kws-docker");
  const socket = `unix://${folder.path}/docker.sock`;
  await mkdir(join(folder.path, "exec"));
  const folders = [`--data-root=${folder.path}/root`, `--exec-root=${folder.path}/exec`];
  const places = [...folders, `--pidfile=${folder.path}/pid`, `--host=${socket}`];
  const args = [...places, "--bridge=none", "--iptables=false", "--ip6tables=false"];
  const child = spawn("dockerd", args, { env, stdio: "ignore" });
  const own = { ...env, DOCKER_HOST: socket };
  await answering(child, "docker", ["version"], own);
  return { env: own, [Symbol.asyncDispose]: () => end(child, folder) };
}

async function answering(
  child: ChildProcess,
  program: string,
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  for (;;) {
    const { exitCode, stderr } = await exec(program, args, { env });
    if (exitCode === 0) return;
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended: ${stderr}`);
    await sleep(50);
  }
}

async function end(child: ChildProcess, folder: AsyncDisposable): Promise<void> {
  const exited = new Promise((resolve) => child.once("exit", resolve));
  if (child.exitCode === null && child.kill()) await exited;
  await folder[Symbol.asyncDispose]();
}
