/**
 * One process in a container of its own without a running cluster, for the steps of an image build: the same root file
 * system and the same way into it as a pod's containers have.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "../../runtime.ts";
import { fromMask } from "./capabilities.ts";
import { PipeMaker } from "./pipes.ts";
import { exitCodeOf, openPlan, processPlan, startFailure } from "./process.ts";
import { layOutMounts, layOutRootfs } from "./rootfs.ts";
import { childrenOf, sendSignal } from "./processes.ts";
import { inNewPidNamespace } from "./scripts.ts";
import { assembleTools, systemPath } from "./tools.ts";

export interface RunInSandboxOptions {
  /** Unpacked layers, the lowest first. */
  layers: string[];
  /** Receives what the process changes, as an overlay upper directory (whiteouts and all). */
  upperDir: string;
  argv: string[];
  /** Complete but for a default `PATH`. */
  env: Record<string, string>;
  cwd: string;
  user: { uid: number; gid: number; additionalGids: number[] };
  network: "host" | "none";
  mounts?: Mount[];
  onOutput?: (chunk: Buffer, stream: "stdout" | "stderr") => void;
  /** Kills everything in the container; the promise then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** For working files, on the same file system as `upperDir`; nothing stays behind but the folder `tools`. */
  tmpDir: string;
}

/** Resolves with the exit code. Rejects with `ContainerStartError` where the program cannot be started. */
export async function runInSandbox(options: RunInSandboxOptions): Promise<number> {
  options.signal?.throwIfAborted();
  const tools = join(options.tmpDir, "tools");
  await assembleTools(tools);
  const folder = await mkdtemp(join(options.tmpDir, "run-"));
  try {
    return await runIn(folder, tools, options);
  } finally {
    // The kernel makes the overlay's inner work folder without any permission.
    await chmod(join(folder, "work", "work"), 0o700).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  }
}

async function runIn(folder: string, tools: string, options: RunInSandboxOptions): Promise<number> {
  const rootless = process.getuid?.() !== 0;
  for (const name of ["work", "shm", "tables"]) await mkdir(join(folder, name));
  const mounts = [...(options.mounts ?? [])];
  if (options.network === "host") {
    for (const path of ["/etc/resolv.conf", "/etc/hosts"]) {
      mounts.unshift({ type: "bind", source: path, target: path, readOnly: true });
    }
  }
  const spec = {
    layers: options.layers,
    upperDir: options.upperDir,
    workDir: join(folder, "work"),
    mounts,
    shm: join(folder, "shm"),
    tools,
    readOnly: false,
    privileged: false,
    rootless,
    hostSys: rootless && options.network === "host",
  };
  const tables = join(folder, "tables");
  const old = `.${randomBytes(8).toString("hex")}`;
  layOutRootfs(tables, spec);
  layOutMounts(tables, old, spec);

  const status = await readFile("/proc/self/status", "utf8");
  const own = fromMask(/^CapBnd:\s*(\w+)/m.exec(status)?.[1] ?? "0");
  const plan = openPlan(
    folder,
    processPlan(
      {
        argv: options.argv,
        env: options.env,
        cwd: options.cwd,
        user: options.user,
        capabilities: { add: [], drop: [] },
        privileged: false,
        allowPrivilegeEscalation: true,
        ownsStdin: false,
        tty: false,
      },
      { rootless, capabilities: own },
    ),
  );
  const pipes = new PipeMaker(folder, 2);
  const [out, err] = [await pipes.output(), await pipes.output()];
  const nothing = openSync("/dev/null", "r");
  const words = [
    ...(rootless ? ["--user", "--map-root-user"] : []),
    ...(options.network === "none" ? ["--net"] : []),
    "--mount",
    "--propagation",
    "private",
    "--uts",
    "--ipc",
    ...inNewPidNamespace,
    "sh",
    join(tools, "enter"),
    tables,
    join(tables, "root"),
    old,
    "plain",
    rootless ? "binds" : "nodes",
  ];
  const child = spawn("unshare", words, {
    env: { PATH: systemPath },
    stdio: [nothing, out.childEnd, err.childEnd, plan, "pipe"],
  });
  for (const fd of [plan, nothing, out.childEnd, err.childEnd]) closeSync(fd);
  const kill = () => childrenOf(child.pid ?? 0).forEach((pid) => sendSignal(pid, "SIGKILL"));
  options.signal?.addEventListener("abort", kill, { once: true });
  try {
    out.stream.on("data", (chunk: Buffer) => options.onOutput?.(chunk, "stdout"));
    err.stream.on("data", (chunk: Buffer) => options.onOutput?.(chunk, "stderr"));
    const drained = Promise.all([once(out.stream, "close"), once(err.stream, "close")]);
    let said = "";
    child.stdio[4]?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    const code = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve(exitCodeOf(code, signal)));
    });
    await drained;
    options.signal?.throwIfAborted();
    const failure = startFailure(said, options.argv[0] ?? "");
    if (failure) throw failure;
    return code;
  } finally {
    options.signal?.removeEventListener("abort", kill);
  }
}
