/**
 * What the daemon says with the process inside the cluster: the sandbox's agent, on a Unix socket, or the helper of a Docker
 * Engine, which knows some of the methods, on a loopback port. Every message is a frame: four bytes of
 * length, one byte of kind, the payload. A connection is either a control connection (requests, answers and events as
 * JSON) or, when its first frame is an `Open`, a session: framed streams for exec and attach, raw bytes for dial.
 */
import type { Duplex } from "node:stream";
import type { NetworkState } from "../../../network/state.ts";
import type {
  Container,
  ContainerSpec,
  ContainerUsage,
  ExecSpec,
  PodSandbox,
  PodSandboxSpec,
} from "../../runtime.ts";
import type { ContainerRoot } from "./usage.ts";

export interface Methods {
  hello: { params: null; result: { version: number; pid: number } };
  runPodSandbox: { params: PodSandboxSpec; result: PodSandbox };
  removePodSandbox: { params: string; result: null };
  listPodSandboxes: { params: null; result: PodSandbox[] };
  startContainer: { params: ContainerSpec; result: Container };
  stopContainer: { params: { id: string; gracePeriodSeconds: number }; result: null };
  removeContainer: { params: string; result: null };
  listContainers: { params: null; result: Container[] };
  usage: { params: null; result: ContainerUsage[] };
  /** Answers why policies cannot be enforced, or null where they are. */
  applyNetwork: { params: NetworkState; result: string | null };
  /** Where 10.96.0.1:443 leads. */
  setApiServer: { params: string; result: null };
  /** The device through which other networks are reached, or none. */
  setWayOut: { params: string | null; result: null };
  /** The host's Unix socket for its loopback services, and their ports. */
  setHostPorts: { params: { path: string; ports: number[] }; result: null };
  /** Answers a `resolve` event; the packet in base64. */
  resolved: { params: { id: number; packet: string | null }; result: null };
  /** Every process in every container stands still until `thaw`, or until no daemon is connected. */
  freeze: { params: null; result: null };
  thaw: { params: null; result: null };
  /** What the processes below each of these, as the caller counts them, use. */
  measure: { params: ContainerRoot[]; result: ContainerUsage[] };
  /** Ends a process; one that is gone is fine. */
  kill: { params: number; result: null };
  /** Ends every container and the agent itself. */
  shutdown: { params: null; result: null };
}

export type Method = keyof Methods;

export type Handlers<M extends Method> = {
  [Key in M]: (params: Methods[Key]["params"]) => Promise<Methods[Key]["result"]>;
};

export interface Request {
  id: number;
  method: Method;
  params: unknown;
}

export type Answer = { id: number; result: unknown } | { id: number; error: WireError };

export interface WireError {
  message: string;
  /** Present for a `ContainerStartError`. */
  reason?: string;
}

export type Event =
  | { event: "exit"; container: Container }
  | { event: "resolve"; id: number; packet: string }
  /** A connection from the cluster's network waits for the daemon to take it to the host's side. */
  | { event: "outward"; id: number; to: Outward };

/** The API server, or the host's loopback services. */
export type Outward = "apiserver" | "host";

export type Open =
  | { open: "exec"; containerId: string; spec: ExecSpec }
  | { open: "attach"; containerId: string }
  | { open: "dial"; host: string; port: number; sandboxId?: string }
  | { open: "outward"; id: number };

/** Raised whenever an older agent could not be talked to. */
export const protocolVersion = 2;

export const kind = {
  json: 0,
  stdin: 1,
  stdinEnd: 2,
  stdout: 3,
  stderr: 4,
  resize: 5,
  exit: 6,
  close: 7,
} as const;
export type Kind = (typeof kind)[keyof typeof kind];

const header = 5;
const maximum = 64 * 1024 * 1024;

/** Returns false where the other side is slow to read, as `write` does. */
export function writeFrame(stream: Duplex, kind: Kind, payload: Uint8Array | string = ""): boolean {
  if (!stream.writable) return true;
  const body = typeof payload === "string" ? Buffer.from(payload) : payload;
  const head = Buffer.allocUnsafe(header);
  head.writeUInt32BE(body.length, 0);
  head.writeUInt8(kind, 4);
  stream.cork();
  stream.write(head);
  const free = stream.write(body);
  process.nextTick(() => stream.uncork());
  return free;
}

export function writeJson(stream: Duplex, message: object): boolean {
  return writeFrame(stream, kind.json, JSON.stringify(message));
}

/** Calls back for each frame; the returned function stops that and gives back bytes that belong to no frame yet. */
export function readFrames(stream: Duplex, onFrame: (kind: number, payload: Buffer) => void): () => Buffer {
  let pending: Buffer = Buffer.alloc(0);
  const state = { stopped: false };
  const onData = (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (!state.stopped && pending.length >= header) {
      const length = pending.readUInt32BE(0);
      if (length > maximum) {
        stream.destroy(new Error(`frame of ${length} bytes`));
        return;
      }
      if (pending.length < header + length) return;
      const payload = pending.subarray(header, header + length);
      const type = pending.readUInt8(4);
      pending = pending.subarray(header + length);
      onFrame(type, payload);
    }
  };
  stream.on("data", onData);
  return () => {
    state.stopped = true;
    stream.off("data", onData);
    return pending;
  };
}
