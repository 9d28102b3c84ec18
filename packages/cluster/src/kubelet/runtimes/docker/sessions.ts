/** Commands in containers, attached clients and connections to pods' loopback addresses, over the engine's own streams. */
import { once } from "node:events";
import { Duplex, PassThrough, Writable, type Readable } from "node:stream";
import type Docker from "dockerode";
import { ContainerStartError, type ExecSession, type ExecSpec } from "../../runtime.ts";
import { loopbackRelay } from "../loopback-relay.ts";
import { startError } from "./create.ts";
import { readMultiplexed } from "./multiplexed.ts";
import type { EngineContainer } from "./containers.ts";

/** The engine says when a command runs or has ended only where it is asked. */
const askEveryMs = 5;
const startTimeoutMs = 30_000;

/** `kill` ends a process, as the engine counts. */
export async function execIn(
  { inEngine }: EngineContainer,
  { argv, tty, stdin, env = {} }: ExecSpec,
  kill: (pid: number) => Promise<void>,
): Promise<ExecSession> {
  const exec = await inEngine.exec({
    Cmd: argv,
    Tty: tty,
    AttachStdin: stdin,
    AttachStdout: true,
    AttachStderr: true,
    Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
  });
  const stream = await exec.start({ hijack: true, stdin, Tty: tty });
  const streams = outputs(stream, tty);
  const { pid, failed } = await started(exec);
  if (failed) throw await failure(streams.stdout);
  return {
    ...streams,
    stdin: inputOf(stream),
    resize: (w, h) => void exec.resize({ w, h }).catch(() => undefined), // One that has just ended needs no size.
    exit: streams.ended.then(() => exitCode(exec)),
    close() {
      stream.destroy();
      kill(pid).catch(() => undefined); // The helper is gone, and with it the session's cluster.
    },
  };
}

export async function attachTo({ inEngine, kept, container, ended }: EngineContainer): Promise<ExecSession> {
  const stream = (await inEngine.attach({
    stream: true,
    hijack: true,
    stdin: true,
    stdout: true,
    stderr: true,
  })) as Duplex;
  return {
    ...outputs(stream, kept.tty),
    stdin: inputOf(stream),
    resize: (w, h) => void inEngine.resize({ w, h }).catch(() => undefined),
    exit: ended.then(() => container.exitCode ?? 0),
    close: () => stream.destroy(),
  };
}

/** A connection to a port on the loopback address of the pod that the container holds; undefined where nobody listens. */
export async function dialLoopback(pause: Docker.Container, port: number): Promise<Duplex | undefined> {
  const exec = await pause.exec({
    Cmd: ["node", "-e", loopbackRelay, String(port), "whole"],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const { stdout } = outputs(stream, false);
  const ready = await Promise.race([
    once(stdout, "readable").then(() => (stdout.read(1) as Buffer | null) !== null),
    once(stdout, "end").then(() => false),
  ]);
  if (!ready) return undefined;
  const connection = Duplex.from({ readable: stdout, writable: inputOf(stream) });
  connection.once("close", () => stream.destroy());
  return connection;
}

interface Outputs {
  stdout: PassThrough;
  stderr: PassThrough;
  /** Resolves at the end of both. */
  ended: Promise<void>;
}

function outputs(stream: Duplex, tty: boolean): Outputs {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const pass = (to: PassThrough, chunk: Buffer) => {
    if (to.destroyed || to.write(chunk)) return;
    stream.pause();
    const resume = () => {
      to.off("drain", resume).off("close", resume);
      stream.resume();
    };
    to.once("drain", resume).once("close", resume);
  };
  if (tty) stream.on("data", (chunk: Buffer) => pass(stdout, chunk));
  else readMultiplexed(stream, (from, piece) => pass(from === "stdout" ? stdout : stderr, piece));
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const finish = () => {
    stdout.end();
    stderr.end();
    resolve();
  };
  stream.once("end", finish).once("close", finish);
  stream.on("error", () => stream.destroy());
  return { stdout, stderr, ended };
}

function inputOf(stream: Duplex): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (stream.destroyed || stream.writableEnded || stream.write(chunk)) return done();
      const settle = () => {
        stream.off("drain", settle).off("close", settle);
        done();
      };
      stream.once("drain", settle).once("close", settle);
    },
    final(done) {
      stream.end();
      done();
    },
  });
}

/** Once the command runs, or has ended already. */
async function started(exec: Docker.Exec): Promise<{ pid: number; failed: boolean }> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const { Pid, Running, ExitCode } = await exec.inspect();
    const ended = !Running && ExitCode !== null;
    if (Pid > 0 || ended) return { pid: Pid, failed: ended && Pid === 0 };
    if (performance.now() > deadline)
      throw new ContainerStartError("RunContainerError", "the command was not started in time");
    await new Promise((resolve) => setTimeout(resolve, askEveryMs));
  }
}

/** The engine writes why it did not start a command where the command's output would be. */
async function failure(stdout: Readable): Promise<Error> {
  let said = "";
  for await (const chunk of stdout) said += String(chunk);
  return startError(said.trim() || "the command was not started");
}

async function exitCode(exec: Docker.Exec): Promise<number> {
  for (;;) {
    const { Running, ExitCode } = await exec.inspect();
    if (!Running) return ExitCode ?? 137;
    await new Promise((resolve) => setTimeout(resolve, askEveryMs));
  }
}
