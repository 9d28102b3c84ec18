/** The daemon's side of the process inside the cluster: `Runtime` and `NetworkDataplane` over its socket. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough, Writable, type Duplex } from "node:stream";
import { joinSockets } from "../../../network/proxy.ts";
import type { NetworkDataplane } from "../../../network/state.ts";
import { ContainerStartError, type Container, type ExecSession, type Runtime } from "../../runtime.ts";
import {
  kind,
  readFrames,
  writeFrame,
  writeJson,
  type Answer,
  type Event,
  type Method,
  type Methods,
  type Open,
  type Outward,
  type WireError,
} from "./protocol.ts";

export interface AgentClient {
  call<M extends Method>(method: M, params: Methods[M]["params"]): Promise<Methods[M]["result"]>;
  runtime: Runtime;
  network: NetworkDataplane;
  /** Called with each DNS query that the agent cannot answer. */
  onResolve(answer: (packet: Buffer) => Promise<Buffer | undefined>): void;
  /** Called for each connection outward, with what it leads to; answers the Unix socket to connect it with. */
  onOutward(place: (to: Outward) => string): void;
  /** Resolves when the connection is gone. */
  closed: Promise<void>;
  disconnect(): void;
}

/** Where the process inside listens; a loopback port could be anybody's to connect to, and asks for a token. */
export type AgentAddress = { path: string } | { port: number; token: string };

/** Rejects where no agent listens. */
export async function connectAgent(address: AgentAddress): Promise<AgentClient> {
  const control = await open(address, { allowHalfOpen: false });
  let lastId = 0;
  const waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  const exitListeners = new Set<(container: Container) => void>();
  let resolver: ((packet: Buffer) => Promise<Buffer | undefined>) | undefined;
  let placeOf: ((to: Outward) => string) | undefined;

  const call = <M extends Method>(method: M, params: Methods[M]["params"]): Promise<Methods[M]["result"]> => {
    if (control.destroyed) return Promise.reject(new Error("the cluster's agent is not running"));
    const id = ++lastId;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      writeJson(control, { id, method, params });
    });
  };
  readFrames(control, (_type, payload) => {
    const message = JSON.parse(payload.toString()) as Answer | Event;
    if ("event" in message) {
      if (message.event === "exit") for (const listener of exitListeners) listener(message.container);
      else if (message.event === "resolve") void answerQuestion(message);
      else void takeOutward(message);
      return;
    }
    const request = waiting.get(message.id);
    waiting.delete(message.id);
    if ("error" in message) request?.reject(toError(message.error));
    else request?.resolve(message.result);
  });
  const answerQuestion = async ({ id, packet }: { id: number; packet: string }) => {
    const answer = await resolver?.(Buffer.from(packet, "base64")).catch(() => undefined);
    // An agent that went away meanwhile needs no answer.
    await call("resolved", { id, packet: answer?.toString("base64") ?? null }).catch(() => undefined);
  };
  const takeOutward = async ({ id, to }: { id: number; to: Outward }) => {
    const path = placeOf?.(to);
    if (path === undefined) return;
    // One whose client has gone away meanwhile is refused.
    const inside = await openSession(address, { open: "outward", id }).catch(() => undefined);
    if (inside !== undefined) joinSockets(inside, connect({ path, allowHalfOpen: true }));
  };
  const closed = new Promise<void>((resolve) => {
    control.on("error", () => control.destroy());
    control.once("close", () => {
      for (const { reject } of waiting.values()) reject(new Error("the cluster's agent has ended"));
      waiting.clear();
      resolve();
    });
  });

  const runtime: Runtime = {
    runPodSandbox: (spec) => call("runPodSandbox", spec),
    removePodSandbox: async (id) => void (await call("removePodSandbox", id)),
    listPodSandboxes: () => call("listPodSandboxes", null),
    startContainer: (spec) => call("startContainer", spec),
    stopContainer: async (id, gracePeriodSeconds) =>
      void (await call("stopContainer", { id, gracePeriodSeconds })),
    removeContainer: async (id) => void (await call("removeContainer", id)),
    listContainers: () => call("listContainers", null),
    usage: () => call("usage", null),
    onExit(listener) {
      exitListeners.add(listener);
      return () => exitListeners.delete(listener);
    },
    exec: async (containerId, spec) =>
      execSession(await openSession(address, { open: "exec", containerId, spec })),
    attach: async (containerId) => execSession(await openSession(address, { open: "attach", containerId })),
    dial: (host, port, sandboxId) => openSession(address, { open: "dial", host, port, sandboxId }),
  };
  return {
    call,
    runtime,
    network: { apply: async (state) => (await call("applyNetwork", state)) ?? undefined },
    onResolve: (answer) => (resolver = answer),
    onOutward: (place) => (placeOf = place),
    closed,
    disconnect: () => control.destroy(),
  };
}

async function open(address: AgentAddress, options: { allowHalfOpen: boolean }): Promise<Socket> {
  const place = "path" in address ? address : { host: "127.0.0.1", port: address.port, noDelay: true };
  const socket = connect({ ...place, ...options });
  await once(socket, "connect");
  if ("token" in address) writeFrame(socket, kind.json, address.token);
  return socket;
}

/** A connection of its own, once the agent has accepted what it was opened for. */
async function openSession(address: AgentAddress, asked: Open): Promise<Socket> {
  const socket = await open(address, { allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error("the cluster's agent has ended"));
    socket.once("error", fail);
    socket.once("close", fail);
    const stop = readFrames(socket, (_type, payload) => {
      const answer = JSON.parse(payload.toString()) as { ok: true } | { error: WireError };
      socket.off("error", fail);
      socket.off("close", fail);
      if ("error" in answer) {
        socket.destroy();
        reject(toError(answer.error));
        return;
      }
      socket.pause();
      const rest = stop();
      if (rest.length > 0) socket.unshift(rest);
      resolve(socket);
    });
    writeJson(socket, asked);
  });
}

function execSession(socket: Duplex): ExecSession {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough() };
  const stdin = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (socket.destroyed || writeFrame(socket, kind.stdin, chunk)) return done();
      const settle = () => {
        socket.off("drain", settle).off("close", settle);
        done();
      };
      socket.once("drain", settle).once("close", settle);
    },
    final(done) {
      writeFrame(socket, kind.stdinEnd);
      done();
    },
  });
  const exit = new Promise<number>((resolve, reject) => {
    let code: number | undefined;
    readFrames(socket, (type, payload) => {
      if (type === kind.stdout || type === kind.stderr) {
        const stream = type === kind.stdout ? streams.stdout : streams.stderr;
        if (stream.destroyed || stream.write(payload)) return;
        socket.pause();
        const resume = () => {
          stream.off("drain", resume).off("close", resume);
          socket.resume();
        };
        stream.once("drain", resume).once("close", resume);
      } else if (type === kind.exit) {
        code = (JSON.parse(payload.toString()) as { code: number }).code;
        resolve(code);
        streams.stdout.end();
        streams.stderr.end();
        socket.end();
      }
    });
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      streams.stdout.end();
      streams.stderr.end();
      if (code === undefined) reject(new Error("the session ended before the command"));
    });
  });
  // Callers that never ask for the exit code must not end the process.
  exit.catch(() => undefined);
  socket.resume();
  return {
    stdin,
    ...streams,
    resize: (columns, rows) => void writeFrame(socket, kind.resize, JSON.stringify({ columns, rows })),
    exit,
    close() {
      writeFrame(socket, kind.close);
    },
  };
}

function toError({ message, reason }: WireError): Error {
  return reason === undefined ? new Error(message) : new ContainerStartError(reason, message);
}
