/** What the daemon does for `lifecycle.ts` while it runs, on a Unix socket of its own: HTTP, one path, for this user alone. */
import { once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import { createServer, request, type IncomingMessage } from "node:http";
import { json } from "node:stream/consumers";
import { isErrno, messageOf, UserError, type ErrorCode } from "@kws/base/errors";
import type { Captured } from "./snapshots/capture.ts";

interface Failure {
  message: string;
  code?: ErrorCode;
  fix?: string;
}

/** Fills a folder that does not exist yet; the signal says that nobody waits for it any more. */
export type TakeSnapshot = (folder: string, signal: AbortSignal) => Promise<Captured>;

export async function serveControl(socketPath: string, snapshot: TakeSnapshot): Promise<AsyncDisposable> {
  const server = createServer((asked, answer) => {
    const gone = new AbortController();
    answer.on("close", () => gone.abort());
    const send = (status: number, body: Captured | Failure) => {
      answer.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    const serve = async () => {
      if (asked.method !== "POST" || asked.url !== "/snapshot") return send(404, { message: "not found" });
      const { folder } = (await json(asked)) as { folder: string };
      send(200, await snapshot(folder, gone.signal));
    };
    serve().catch((error: unknown) => {
      const more =
        error instanceof UserError
          ? { code: error.code, ...(error.fix === undefined ? {} : { fix: error.fix }) }
          : {};
      send(500, { message: messageOf(error), ...more });
    });
  });
  await rm(socketPath, { force: true });
  server.listen({ path: socketPath });
  await once(server, "listening");
  await chmod(socketPath, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Throws what the daemon throws, and `conflict` where it is of a kws that takes no snapshots. */
export async function askForSnapshot(
  socketPath: string,
  folder: string,
  signal?: AbortSignal,
): Promise<Captured> {
  const body = JSON.stringify({ folder });
  const asking = request({
    socketPath,
    method: "POST",
    path: "/snapshot",
    headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    ...(signal === undefined ? {} : { signal }),
  });
  asking.end(body);
  let answer: IncomingMessage;
  try {
    [answer] = (await once(asking, "response")) as [IncomingMessage];
  } catch (error) {
    signal?.throwIfAborted();
    if (!isErrno(error, "ENOENT", "ECONNREFUSED"))
      throw new UserError("the cluster's process ended before the snapshot was whole", { cause: error });
    throw new UserError("the cluster was started by an older kws, which takes no snapshots", {
      code: "conflict",
      fix: "Restart it: `kws cluster stop`, then `kws cluster start`.",
      cause: error,
    });
  }
  const said = (await json(answer)) as Captured | Failure;
  if ("message" in said) {
    const { code, fix } = said;
    throw new UserError(said.message, { ...(code && { code }), ...(fix && { fix }) });
  }
  return said;
}
