/** The agent's side of exec, attach and dial: one connection from the daemon each. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { ContainerStartError } from "../../runtime.ts";
import { loopbackRelay } from "../loopback-relay.ts";
import { endOf, startOutcome, type AgentContext, type Containers } from "./containers.ts";
import { runTool } from "./commands.ts";
import type { Pod, Pods } from "./pods.ts";
import { openPlan, processPlan } from "./process.ts";
import { childrenOf, sendSignal } from "./processes.ts";
import { kind, readFrames, writeFrame, writeJson, type Open } from "./protocol.ts";
import { toolArgv, toolsTarget } from "./scripts.ts";
import { systemPath } from "./tools.ts";

export interface SessionContext {
  agent: AgentContext;
  containers: Containers;
  pods: Pods;
}

/** How long a command's output may stay silent after its end before the session is over, where a descendant holds it open. */
const drainMs = 1000;
/** How far an attached client may fall behind before it is cut off, lest it stops the container. */
const attachBacklog = 8 * 1024 * 1024;

/** Serves one session; `rest` are bytes that came behind the opening frame. */
export async function serveSession(
  socket: Socket,
  open: Open,
  rest: Buffer,
  context: SessionContext,
): Promise<void> {
  if (rest.length > 0) socket.unshift(rest);
  socket.on("error", () => socket.destroy());
  try {
    if (open.open === "exec") await serveExec(socket, open, context);
    else if (open.open === "attach") serveAttach(socket, open, context);
    else if (open.open === "dial") await serveDial(socket, open, context);
    else throw new Error("nothing waits to be taken outward");
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const reason = error instanceof ContainerStartError ? { reason: error.reason } : {};
    writeJson(socket, { error: { message, ...reason } });
    socket.end();
  }
}

async function serveExec(
  socket: Socket,
  open: Open & { open: "exec" },
  context: SessionContext,
): Promise<void> {
  const running = context.containers.running(open.containerId);
  if (!running) throw new Error(`container "${open.containerId}" is not running`);
  const { runDir, pipes, powers } = context.agent;
  const { argv, tty, stdin, env } = open.spec;
  const input = stdin || tty ? await pipes.input() : undefined;
  const [out, err] = await Promise.all([pipes.output(), pipes.output()]);
  const plan = openPlan(
    runDir,
    processPlan(
      { ...running.process, argv, tty, ownsStdin: stdin, env: { ...running.process.env, ...env } },
      powers,
    ),
  );
  const nothing = openSync("/dev/null", "r");
  const enter = [
    "nsenter",
    "--target",
    String(running.pid),
    "--mount",
    "--uts",
    "--ipc",
    "--net",
    "--pid",
    ...toolArgv("sh"),
    `${toolsTarget}/${tty ? "terminal" : "run"}`,
  ];
  // The way into the control group is a shell that joins it and then becomes nsenter.
  const join =
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 >"$1" || :; shift; n=$((n - 1)); done; exec "$@"';
  const { joinFiles } = running.group;
  const [program = "", ...words] = [
    ...running.limits,
    ...(joinFiles.length > 0 ? ["sh", "-c", join, "sh", String(joinFiles.length), ...joinFiles] : []),
    ...enter,
  ];
  const child = spawn(program, words, {
    env: { PATH: systemPath },
    stdio: [input?.childEnd ?? nothing, out.childEnd, err.childEnd, plan, "pipe"],
  });
  for (const fd of [input?.childEnd, nothing, out.childEnd, err.childEnd, plan])
    if (fd !== undefined) closeSync(fd);
  input?.stream.on("error", () => undefined); // The command closed its stdin.

  let lastOutput = performance.now();
  const forward = (stream: Socket, as: 3 | 4) => {
    stream.pause();
    stream.on("data", (chunk: Buffer) => {
      lastOutput = performance.now();
      if (writeFrame(socket, as, chunk)) return;
      stream.pause();
      socket.once("drain", () => stream.resume());
    });
  };
  forward(out.stream, kind.stdout);
  forward(err.stream, tty ? kind.stdout : kind.stderr);
  const drained = Promise.all([once(out.stream, "close"), once(err.stream, "close")]);
  const ended = endOf(child);
  const { failure } = await startOutcome(child, argv[0] ?? "");
  if (failure) {
    await ended;
    for (const stream of [input?.stream, out.stream, err.stream]) stream?.destroy();
    throw failure;
  }
  writeJson(socket, { ok: true });
  out.stream.resume();
  err.stream.resume();
  const kill = () => {
    for (const pid of childrenOf(child.pid ?? 0)) sendSignal(pid, "SIGKILL");
  };
  receive(socket, input?.stream, () => terminalOf(child.pid ?? 0, 2), kill);
  socket.once("close", () => {
    kill();
    out.stream.destroy();
    err.stream.destroy();
  });

  const code = await ended;
  const idle = setInterval(() => {
    const waitingForClient = socket.writableNeedDrain;
    if (waitingForClient || performance.now() - lastOutput < drainMs) return;
    out.stream.destroy();
    err.stream.destroy();
  }, drainMs / 4);
  await drained;
  clearInterval(idle);
  input?.stream.destroy();
  writeFrame(socket, kind.exit, JSON.stringify({ code }));
  socket.end();
}

function serveAttach(socket: Socket, open: Open & { open: "attach" }, { containers }: SessionContext): void {
  const running = containers.running(open.containerId);
  if (!running) throw new Error(`container "${open.containerId}" is not running`);
  writeJson(socket, { ok: true });
  const listener = (stream: "stdout" | "stderr", chunk: Buffer) => {
    writeFrame(socket, kind[stream], chunk);
    if (socket.writableLength > attachBacklog) socket.destroy();
  };
  running.attached.add(listener);
  socket.once("close", () => running.attached.delete(listener));
  receive(
    socket,
    running.stdin,
    () => childrenOf(running.pid)[0],
    () => socket.end(),
  );
  void running.exited.then(({ exitCode = 0 }) => {
    writeFrame(socket, kind.exit, JSON.stringify({ code: exitCode }));
    socket.end();
  });
}

/** What the client sends: input, the size of its window, the wish to end. */
function receive(
  socket: Socket,
  stdin: Socket | undefined,
  terminal: () => number | undefined,
  end: () => void,
): void {
  readFrames(socket, (type, payload) => {
    if (type === kind.stdin && stdin && !stdin.destroyed && !stdin.writableEnded) {
      if (!stdin.write(payload)) {
        socket.pause();
        const resume = () => socket.resume();
        stdin.once("drain", resume);
        stdin.once("close", resume);
      }
    } else if (type === kind.stdinEnd) {
      stdin?.end();
    } else if (type === kind.resize) {
      const { columns, rows } = JSON.parse(payload.toString()) as { columns: number; rows: number };
      const pid = terminal();
      // The terminal is reached through the process that has it; one that has just ended needs no size.
      if (pid) {
        runTool("stty", ["-F", `/proc/${pid}/fd/0`, "cols", String(columns), "rows", String(rows)]).catch(
          () => undefined,
        );
      }
    } else if (type === kind.close) {
      end();
    }
  });
  // The daemon ends its side only when it is done with the session, or dead.
  socket.once("end", () => socket.destroy());
  socket.resume();
}

/** The process at the given depth below another, first children only. */
function terminalOf(pid: number, depth: number): number | undefined {
  let current: number | undefined = pid;
  for (let level = 0; level < depth && current !== undefined; level++) current = childrenOf(current)[0];
  return current;
}

async function serveDial(
  socket: Socket,
  open: Open & { open: "dial" },
  { pods, agent }: SessionContext,
): Promise<void> {
  const pod = open.sandboxId === undefined ? undefined : pods.get(open.sandboxId);
  if (open.sandboxId !== undefined && !pod) throw new Error(`pod sandbox "${open.sandboxId}" not found`);
  const host = pod ? pod.address : open.host;
  const target = connect({ host, port: open.port, allowHalfOpen: true });
  try {
    await once(target, "connect");
  } catch (error) {
    if (!pod || pod.spec.hostNetwork) throw error;
    return relayLoopback(socket, open.port, pod, agent);
  }
  target.setNoDelay(true);
  writeJson(socket, { ok: true });
  target.on("error", () => socket.destroy());
  socket.on("close", () => target.destroy());
  target.on("close", () => socket.destroySoon());
  socket.pipe(target);
  target.pipe(socket);
}

/** A program that listens on the pod's loopback address alone is reached by a process inside the pod's network. */
async function relayLoopback(socket: Socket, port: number, pod: Pod, agent: AgentContext): Promise<void> {
  const network = pod.join.filter((option) => option.startsWith("--net="));
  const child = spawn("nsenter", [...network, process.execPath, "-e", loopbackRelay, String(port)], {
    env: { PATH: systemPath },
    stdio: ["pipe", "pipe", "ignore"],
  });
  child.on("error", (error) => agent.logger.error("loopback relay", { error: error.message }));
  child.stdin.on("error", () => undefined); // The relay has ended; its stdout says so too.
  const ready = await Promise.race([
    once(child.stdout, "readable").then(() => (child.stdout.read(1) as Buffer | null) !== null),
    once(child, "exit").then(() => false),
  ]);
  if (!ready)
    throw new Error(
      `connection refused: nothing listens on port ${port} of pod ${pod.spec.namespace}/${pod.spec.name}`,
    );
  writeJson(socket, { ok: true });
  socket.on("close", () => child.kill("SIGKILL"));
  child.stdout.on("close", () => socket.destroySoon());
  socket.pipe(child.stdin);
  child.stdout.pipe(socket);
}
