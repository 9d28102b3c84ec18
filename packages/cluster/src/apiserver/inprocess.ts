/** The API server as a function call, for the daemon's own controllers: the same handler, without TLS and HTTP. */
import type { Transport } from "@kws/kube/transport";
import type { Handler } from "./handler.ts";
import type { User } from "./request.ts";

export function inProcessTransport(handler: Handler, user: User): Transport {
  return {
    async request({ method, path, headers = {}, body, signal }) {
      const mark = path.indexOf("?");
      const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
      // A watch that nobody iterates any more has to end, also where the caller gave no signal.
      const ended = new AbortController();
      const answer = await handler({
        method,
        path: mark < 0 ? path : path.slice(0, mark),
        query: new URLSearchParams(mark < 0 ? "" : path.slice(mark + 1)),
        headers,
        body: () => Promise.resolve(bytes),
        user,
        signal: signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal]),
      });
      return {
        status: answer.status,
        headers: answer.headers,
        body: chunksOf(answer.body, () => ended.abort("the answer has been read")),
      };
    },
  };
}

async function* chunksOf(
  body: string | Uint8Array | AsyncIterable<string | Uint8Array>,
  onEnd: () => void,
): AsyncGenerator<Uint8Array> {
  try {
    if (typeof body === "string") yield Buffer.from(body);
    else if (body instanceof Uint8Array) yield body;
    else for await (const chunk of body) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  } finally {
    onEnd();
  }
}
