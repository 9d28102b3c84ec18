/**
 * `exec` and `attach`: the standard streams of a container's process over channels of a WebSocket or over SPDY streams.
 * Channels: https://kubernetes.io/docs/reference/using-api/api-concepts/ and k8s.io/apimachinery `remotecommand/constants.go`.
 */
import type { Duplex, Readable, Writable } from "node:stream";
import type { KubeObject } from "@kws/kube/object";
import { ApiError, apiError } from "@kws/kube/status";
import { messageOf } from "@kws/base/errors";
import type { WebSocket } from "ws";
import type { ExecSession } from "../../kubelet/runtime.ts";
import type { ExecOptions, NodeStreams } from "../../kubelet/streams.ts";
import { serveSpdy } from "./spdy.ts";

const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
/** Bytes that wait for the client before the process is made to wait. */
const waterMark = 1024 * 1024;

export function execOptions(query: URLSearchParams): ExecOptions {
  const flag = (name: string): boolean => ["true", "1"].includes(query.get(name) ?? "");
  return {
    container: query.get("container") || undefined,
    command: query.getAll("command"),
    stdin: flag("stdin"),
    stdout: flag("stdout"),
    stderr: flag("stderr"),
    tty: flag("tty"),
  };
}

export function startSession(
  streams: NodeStreams,
  pod: KubeObject,
  subresource: string,
  options: ExecOptions,
): Promise<ExecSession> {
  if (subresource === "attach") return streams.attach(pod, options);
  if (options.command.length === 0)
    throw apiError("BadRequest", "you must specify at least one command for the container");
  return streams.exec(pod, options);
}

/** How a session ended, as the last word on the error channel. */
export function outcome(exitCode: number): object {
  if (exitCode === 0) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
}

function failureOutcome(error: unknown): object {
  if (error instanceof ApiError) return error.status;
  return { metadata: {}, status: "Failure", message: messageOf(error), reason: "InternalError", code: 500 };
}

/** Serves a session over a WebSocket whose subprotocol is one of `*.channel.k8s.io`. */
export async function execOverWebSocket(
  socket: WebSocket,
  session: ExecSession,
  options: ExecOptions,
): Promise<void> {
  const send = (channel: number, bytes: Uint8Array): void => {
    if (socket.readyState === socket.OPEN) socket.send(Buffer.concat([Buffer.of(channel), bytes]));
  };
  socket.on("message", (data: Buffer, isBinary) => {
    const message = isBinary || Buffer.isBuffer(data) ? data : Buffer.from(String(data));
    const [channel] = message;
    const payload = message.subarray(1);
    if (channel === channels.stdin && options.stdin) {
      if (!session.stdin.write(payload)) {
        socket.pause();
        session.stdin.once("drain", () => socket.resume());
      }
    } else if (channel === channels.resize) {
      resize(session, payload);
    } else if (channel === channels.close && payload[0] === channels.stdin) {
      session.stdin.end();
    }
  });
  socket.on("close", () => session.close());
  socket.on("error", () => session.close());
  session.stdin.on("error", () => socket.resume());
  // Tells the client that the streams are there before there is anything to say, as upstream.
  send(options.stdout ? channels.stdout : options.stderr ? channels.stderr : channels.error, Buffer.alloc(0));
  const pump = async (output: Readable, channel: number, wanted: boolean): Promise<void> => {
    for await (const chunk of output as AsyncIterable<Buffer>) {
      if (wanted) send(channel, chunk);
      if (socket.bufferedAmount > waterMark) await emptied(socket);
    }
  };
  const result = await ended(session, [
    pump(session.stdout, channels.stdout, options.stdout),
    pump(session.stderr, channels.stderr, options.stderr && !options.tty),
  ]);
  // The first version of the protocol has no status: text on the error channel is the failure.
  if (socket.protocol !== "channel.k8s.io" && socket.protocol !== "")
    send(channels.error, Buffer.from(JSON.stringify(result)));
  else if ("message" in result) send(channels.error, Buffer.from(String(result.message)));
  socket.close(1000);
}

async function ended(session: ExecSession, pumps: Promise<void>[]): Promise<object> {
  try {
    const [exitCode] = await Promise.all([session.exit, ...pumps]);
    return outcome(exitCode);
  } catch (error) {
    return failureOutcome(error);
  }
}

/** Resolves when most has been sent, or the client has gone. */
function emptied(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (socket.readyState !== socket.OPEN || socket.bufferedAmount < waterMark / 2) resolve();
      else setTimeout(check, 10);
    };
    check();
  });
}

function resize(session: ExecSession, payload: Buffer): void {
  try {
    const { Width, Height } = JSON.parse(payload.toString("utf8")) as { Width?: number; Height?: number };
    if (Number.isSafeInteger(Width) && Number.isSafeInteger(Height))
      session.resize(Number(Width), Number(Height));
  } catch {
    // A size that cannot be read changes nothing; the next one may.
  }
}

/** Serves a session over SPDY: the client opens one stream for each of the standard streams it asked for, and `error`. */
export function execOverSpdy(
  connection: Duplex,
  options: ExecOptions,
  start: () => Promise<ExecSession>,
): void {
  const expected = new Set([
    "error",
    ...(options.stdin ? ["stdin"] : []),
    ...(options.stdout ? ["stdout"] : []),
    ...(options.stderr && !options.tty ? ["stderr"] : []),
    ...(options.tty ? ["resize"] : []),
  ]);
  const streams = new Map<string, Duplex>();
  const spdy = serveSpdy(connection, ({ headers, duplex }) => {
    const type = headers.get("streamtype") ?? "";
    streams.set(type, duplex);
    if (!expected.delete(type) || expected.size > 0) return;
    void run().finally(() => spdy.close());
  });

  async function run(): Promise<void> {
    const error = streams.get("error") as Duplex;
    let result: object;
    try {
      const session = await start();
      connection.on("close", () => session.close());
      streams
        .get("stdin")
        ?.pipe(session.stdin)
        .on("error", () => {});
      streams.get("resize")?.on("data", (chunk: Buffer) => resize(session, chunk));
      result = await ended(session, [
        copy(session.stdout, streams.get("stdout")),
        copy(session.stderr, streams.get("stderr")),
      ]);
    } catch (failure) {
      result = failureOutcome(failure);
    }
    await finish(error, JSON.stringify(result));
    const outputs = [streams.get("stdout"), streams.get("stderr")].filter((stream) => stream !== undefined);
    await Promise.all(outputs.map((stream) => finish(stream)));
  }
}

async function copy(from: Readable, to: Writable | undefined): Promise<void> {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    if (to === undefined || to.destroyed) continue;
    if (!to.write(chunk))
      await new Promise<void>((resolve) => to.once("drain", resolve).once("close", resolve));
  }
}

function finish(stream: Writable, text?: string): Promise<void> {
  return new Promise((resolve) => {
    stream.once("close", resolve);
    stream.end(text ?? "", () => resolve());
  });
}
