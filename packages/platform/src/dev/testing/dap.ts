/** An editor's side of the Debug Adapter Protocol (https://microsoft.github.io/debug-adapter-protocol), as far as tests need it. */
import type { Duplex } from "node:stream";

interface Message {
  type: "request" | "response" | "event";
  request_seq?: number;
  event?: string;
  success?: boolean;
  message?: string;
  body?: Record<string, unknown>;
}

export interface Editor extends Disposable {
  /** Attaches with a breakpoint, and answers what an expression is there once the program has come to it. */
  attachAt(path: string, line: number, expression: string): Promise<unknown>;
  /** Lets the program go on from the breakpoint. */
  resume(): Promise<void>;
}

/** Closes with the wire, which everything that is still awaited then fails with. */
export function openDap(wire: Duplex): Editor {
  const awaited: {
    fits: (message: Message) => boolean;
    resolve: (message: Message) => void;
    reject: (error: Error) => void;
  }[] = [];
  const closed = new Error("the debugger closed the connection");
  let seq = 0;
  let threadId: unknown;
  let unread = Buffer.alloc(0);
  wire.on("error", () => wire.destroy());
  wire.once("end", () => wire.destroy());
  wire.once("close", () => awaited.splice(0).forEach(({ reject }) => reject(closed)));
  wire.on("data", (chunk: Buffer) => {
    unread = Buffer.concat([unread, chunk]);
    for (let message = next(); message !== undefined; message = next()) {
      const come = message;
      const at = awaited.findIndex(({ fits }) => fits(come));
      if (at !== -1) awaited.splice(at, 1)[0]?.resolve(come);
    }
  });
  /** The first whole message of what has come. */
  const next = (): Message | undefined => {
    const head = unread.indexOf("\r\n\r\n");
    const length = Number(/Content-Length: (\d+)/.exec(unread.toString("latin1", 0, Math.max(0, head)))?.[1]);
    if (head === -1 || unread.length < head + 4 + length) return undefined;
    const text = unread.toString("utf8", head + 4, head + 4 + length);
    unread = unread.subarray(head + 4 + length);
    return JSON.parse(text) as Message;
  };
  const until = (fits: (message: Message) => boolean): Promise<Message> =>
    new Promise((resolve, reject) => {
      if (wire.destroyed) reject(closed);
      else awaited.push({ fits, resolve, reject });
    });
  const event = (name: string) => until((message) => message.event === name);
  const request = async (command: string, args: object): Promise<Record<string, unknown>> => {
    const own = ++seq;
    const answer = until((message) => message.type === "response" && message.request_seq === own);
    const text = JSON.stringify({ seq: own, type: "request", command, arguments: args });
    wire.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    const { success, message = "no reason", body = {} } = await answer;
    if (success !== true) throw new Error(`${command}: ${message}`);
    return body;
  };
  return {
    async attachAt(path, line, expression) {
      const initialized = event("initialized");
      const attach = async () => {
        await request("initialize", { clientID: "test", adapterID: "test", pathFormat: "path" });
        await request("attach", { justMyCode: false });
      };
      const configure = async () => {
        await initialized;
        await request("setBreakpoints", { source: { path }, breakpoints: [{ line }] });
        await request("configurationDone", {});
      };
      const [{ body = {} }] = await Promise.all([event("stopped"), attach(), configure()]);
      ({ threadId } = body);
      const { stackFrames } = await request("stackTrace", { threadId });
      const [frame] = stackFrames as { id: number }[];
      return (await request("evaluate", { expression, frameId: frame?.id }))["result"];
    },
    async resume() {
      await request("continue", { threadId });
    },
    [Symbol.dispose]: () => wire.destroy(),
  };
}
