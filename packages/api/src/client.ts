/** The client of the server's API, made from the routes: `client.call(getRepository, { params: { name } })`. */
import { randomUUID } from "node:crypto";
import { messageOf, UserError } from "@kws/base/errors";
import { retry, sleep } from "@kws/base/retry";
import { ApiError, type ErrorBody, toApiError } from "./errors.ts";
import type { PageOf } from "./page.ts";
import type { Route, RouteInput, RouteOutput } from "./route.ts";
import { readMessages } from "./sse.ts";

export interface ClientOptions {
  /** `http://host:port`, without a path. */
  url: string;
  token: string;
  signal?: AbortSignal;
  /** For each request, streams excepted; 30 s unless given. */
  timeoutMs?: number;
}

/** Only the parts that the route has. */
type Given<R extends Route> = { [Part in keyof RouteInput<R>]?: RouteInput<R>[Part] };

/** Of a route that answers pages. */
type ItemOf<R extends Route> = RouteOutput<R> extends PageOf<infer Item> ? Item : never;

/** A streamed item, with the id to go on after. */
export interface Streamed<Item> {
  id: string | undefined;
  item: Item;
}

export interface Client {
  /** Of the server, without a path. */
  readonly url: string;
  call<R extends Route>(route: R, input?: Given<R>): Promise<RouteOutput<R>>;
  /** All items of a list, page by page as they are asked for. */
  all<R extends Route>(route: R, input?: Given<R>): AsyncGenerator<ItemOf<R>>;
  /** Goes on after the last item where the connection breaks; ends with the signal alone. */
  stream<R extends Route>(
    route: R,
    input?: Given<R> & { after?: string; signal?: AbortSignal },
  ): AsyncGenerator<Streamed<RouteOutput<R>>>;
}

const longestPauseMs = 5_000;

export function createClient(options: ClientOptions): Client {
  const send = async (
    route: Route,
    input: Given<Route>,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ) => {
    const { method } = route;
    const response = await fetch(addressOf(options.url, route, input), {
      method,
      headers: {
        authorization: `Bearer ${options.token}`,
        "x-request-id": randomUUID(),
        ...(input.body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (!response.ok) throw await failureOf(response);
    return response;
  };

  const call = async <R extends Route>(route: R, input: Given<R> = {}): Promise<RouteOutput<R>> => {
    const idempotent = route.method !== "POST" && route.method !== "PATCH";
    try {
      return await retry(
        async () => {
          const signal = AbortSignal.any([
            AbortSignal.timeout(options.timeoutMs ?? 30_000),
            ...(options.signal === undefined ? [] : [options.signal]),
          ]);
          const response = await send(route, input, {}, signal);
          return (response.status === 204 ? undefined : await response.json()) as RouteOutput<R>;
        },
        {
          attempts: idempotent ? 3 : 1,
          delayMs: 100,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
          retryable: (error) =>
            !(error instanceof ApiError) && options.signal?.aborted !== true && !isTimeout(error),
        },
      );
    } catch (error) {
      throw options.signal?.aborted === true ? error : unreachable(options.url, error);
    }
  };

  return {
    url: options.url,
    call,
    async *all(route, input) {
      let cursor: string | undefined;
      do {
        const query = { ...(input?.query as object), ...(cursor === undefined ? {} : { cursor }) };
        const page = (await call(route as Route, { ...input, query })) as PageOf<never>;
        yield* page.items;
        cursor = page.next;
      } while (cursor !== undefined);
    },
    async *stream(route, { after, signal: given, ...input } = {}) {
      const signals = [given, options.signal].filter((one) => one !== undefined);
      const signal = AbortSignal.any(signals);
      let last = after;
      let pause = 100;
      for (;;) {
        signal.throwIfAborted();
        try {
          const headers = {
            accept: "text/event-stream",
            ...(last === undefined ? {} : { "last-event-id": last }),
          };
          const response = await send(route, input, headers, signal);
          if (response.body === null) throw new Error("the stream has no body");
          pause = 100;
          for await (const { id, data } of readMessages(response.body)) {
            if (id !== undefined) last = id;
            yield { id, item: JSON.parse(data) as never };
          }
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof ApiError && error.status < 500 && error.reason !== "too-many") throw error;
        }
        await sleep(pause, signal);
        pause = Math.min(pause * 2, longestPauseMs);
      }
    },
  };
}

function addressOf(base: string, route: Route, input: Given<Route>): URL {
  const params = (input.params ?? {}) as Record<string, unknown>;
  const path = route.path.replaceAll(/:([a-zA-Z]+)/g, (_, name: string) =>
    encodeURIComponent(String(params[name])),
  );
  const url = new URL(path, base);
  for (const [name, value] of Object.entries((input.query ?? {}) as object))
    if (value !== undefined) url.searchParams.set(name, String(value));
  return url;
}

async function failureOf(response: Response): Promise<ApiError> {
  const retryAfter = Number(response.headers.get("retry-after") ?? Number.NaN);
  const body = (await response.json().catch(() => undefined)) as Partial<ErrorBody> | undefined;
  if (typeof body?.code !== "string" || typeof body.message !== "string") {
    const reason = response.status === 404 ? "not-found" : "unavailable";
    return new ApiError(
      reason,
      `${new URL(response.url).host} answered ${response.status}, and is no kws server`,
    );
  }
  return toApiError(body as ErrorBody, Number.isNaN(retryAfter) ? undefined : retryAfter);
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === "TimeoutError";
}

function unreachable(url: string, error: unknown): unknown {
  if (error instanceof UserError) return error;
  if (isTimeout(error))
    return new UserError(`the server at ${url} did not answer in time`, { code: "timeout" });
  if (!(error instanceof TypeError)) return error;
  return new ApiError(
    "unavailable",
    `the server at ${url} cannot be reached: ${messageOf(error.cause ?? error)}`,
    {
      fix: "Start it with `kws server start`, or correct KWS_SERVER_URL.",
    },
  );
}
