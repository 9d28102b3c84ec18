/** The daemon's connections to a process inside the cluster: requests are answered, sessions handed on, events told to all. */
import { timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import type { Logger } from "@kws/base/logger";
import { ContainerStartError } from "../../runtime.ts";
import {
  kind,
  readFrames,
  writeJson,
  type Event,
  type Handlers,
  type Method,
  type Open,
  type Request,
  type WireError,
} from "./protocol.ts";

export interface Serving<M extends Method> {
  handlers: Handlers<M>;
  /** `rest` are bytes that came behind the opening frame. */
  onSession(open: Open, rest: Buffer): void;
  /** No daemon is connected any more. */
  onDeserted(): void;
  /** The answer to `shutdown` is out. */
  onShutdown(): void;
  /** What a connection must begin with, where others than the daemon could make one. */
  token?: string;
}

export class Connections {
  readonly #logger: Logger;
  readonly #controls = new Set<Socket>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** False where no daemon is connected. */
  emit(event: Event): boolean {
    for (const socket of this.#controls) writeJson(socket, event);
    return this.#controls.size > 0;
  }

  accept<M extends Method>(socket: Socket, serving: Serving<M>): void {
    let admitted = serving.token === undefined;
    socket.on("error", () => socket.destroy());
    const stop = readFrames(socket, (type, payload) => {
      if (!admitted) {
        admitted = equal(payload, serving.token ?? "");
        if (!admitted) socket.destroy();
        return;
      }
      if (type !== kind.json) return;
      const message = JSON.parse(payload.toString()) as Request | Open;
      if ("open" in message) {
        socket.pause();
        serving.onSession(message, stop());
        return;
      }
      if (!this.#controls.has(socket)) {
        this.#controls.add(socket);
        socket.once("close", () => {
          this.#controls.delete(socket);
          if (this.#controls.size === 0) serving.onDeserted();
        });
        socket.once("end", () => socket.end());
      }
      void this.#serve(socket, message, serving);
    });
  }

  async #serve<M extends Method>(
    socket: Socket,
    { id, method, params }: Request,
    serving: Serving<M>,
  ): Promise<void> {
    const known = serving.handlers as Partial<Record<Method, (params: unknown) => Promise<unknown>>>;
    try {
      const handler = known[method];
      if (!handler) throw new Error(`unknown method "${method}"`);
      writeJson(socket, { id, result: await handler(params) });
    } catch (error) {
      this.#logger.warn("request failed", { method, error: String(error) });
      writeJson(socket, { id, error: wireError(error) });
    }
    if (method === "shutdown") socket.end(() => serving.onShutdown());
  }
}

function equal(given: Buffer, wanted: string): boolean {
  const expected = Buffer.from(wanted);
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function wireError(error: unknown): WireError {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof ContainerStartError ? { message, reason: error.reason } : { message };
}
