/** Requests to one repository of a registry: authorized, redirected, tried again, and with failures in words. */
import { UserError } from "@kws/base/errors";
import { retry, sleep } from "@kws/base/retry";
import { createAuthenticator, parseChallenges } from "./auth.ts";
import type { Scope } from "./auth.ts";
import type { Credentials } from "./credentials.ts";
import { RegistryError, isTransient, saidIn, statusError } from "./failures.ts";
import { isLoopback, readBody } from "./http.ts";
import type { Answer, Exchange, Send } from "./http.ts";

export interface Call {
  method: Exchange["method"];
  /** An address, or a path below that of the API. */
  url: URL | string;
  /** What it is for, in errors. */
  what: string;
  scopes: Scope[];
  /** Statuses that the caller handles; any other is thrown. */
  expected: number[];
  headers?: Record<string, string>;
  /** Called for each time that it is sent. */
  body?: () => Uint8Array | AsyncIterable<Uint8Array>;
  /** Failures are the caller's to mend. */
  once?: boolean;
  signal?: AbortSignal;
}

export interface CallAnswer extends Answer {
  /** Where it came from, after redirects; relative locations are relative to it. */
  url: URL;
}

export interface Session {
  call(call: Call): Promise<CallAnswer>;
  /** A call and its whole body, which may not be longer than the limit. */
  document(call: Call, limit: number): Promise<{ answer: CallAnswer; bytes: Buffer }>;
  /** Waits before the next of several attempts. */
  pause(attempt: number, signal?: AbortSignal): Promise<void>;
}

export interface SessionOptions {
  /** In errors. */
  host: string;
  /** The host to connect to. */
  address: string;
  /** HTTP, not HTTPS. */
  plain: boolean;
  credentials: () => Promise<Credentials | undefined>;
  send: Send;
  /** The pause after the first failure; it doubles. */
  retryDelayMs: number;
}

export const attempts = 5;
/** Nobody waits longer for a busy registry. */
const longestPauseMs = 30_000;
/** Of a body that nobody asked for. */
const wasteLimit = 64 * 2 ** 10;
const mostRedirects = 5;
const passingStatuses = new Set([408, 429, 500, 502, 503, 504]);
const redirects = new Set([301, 302, 303, 307, 308]);

export function openSession(options: SessionOptions): Session {
  const { host, plain, send } = options;
  const base = new URL(`${plain ? "http" : "https"}://${options.address}/v2/`);
  const pauseMs = (attempt: number) => Math.min(options.retryDelayMs * 2 ** (attempt - 1), longestPauseMs);

  const persistent = async (once: () => Promise<Answer>, signal?: AbortSignal): Promise<Answer> => {
    for (let attempt = 1; ; attempt++) {
      let wait = pauseMs(attempt);
      try {
        const answer = await once();
        const asked = retryAfterMs(answer.headers["retry-after"]);
        const passes = passingStatuses.has(answer.status) && (asked ?? 0) <= longestPauseMs;
        if (!passes || attempt === attempts) return answer;
        wait = asked ?? wait;
        await readBody(answer, wasteLimit);
      } catch (error) {
        signal?.throwIfAborted();
        if (!isTransient(error) || attempt === attempts) throw error;
      }
      await sleep(wait, signal);
    }
  };

  const authenticator = createAuthenticator({
    host,
    plain,
    credentials: options.credentials,
    send: (exchange) => persistent(() => send(exchange), exchange.signal),
  });

  const authorized = async (url: URL, call: Call): Promise<Answer> => {
    // Whoever we are sent to (a store of blobs, most often) has nothing to do with our credentials here.
    const ours = url.origin === base.origin;
    const exchange = (): Exchange => {
      const authorization = ours ? authenticator.header(call.scopes) : undefined;
      return {
        method: call.method,
        url,
        headers: {
          "user-agent": "kws",
          "accept-encoding": "identity",
          ...call.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        ...(call.body === undefined ? {} : { body: call.body() }),
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      };
    };
    const first = exchange();
    const answer = await send(first);
    if (answer.status !== 401 || !ours) return answer;
    const challenges = parseChallenges(answer.headers["www-authenticate"] ?? "");
    const { authorization } = first.headers;
    if (!(await authenticator.answer(challenges, call.scopes, authorization, call.signal))) return answer;
    await readBody(answer, wasteLimit);
    return send(exchange());
  };

  const followed = async (call: Call): Promise<CallAnswer> => {
    let url = resolveLocation(host, plain, call.url, base);
    for (let hops = 0; ; hops++) {
      const answer = await authorized(url, call);
      const { location } = answer.headers;
      const moves = redirects.has(answer.status) && (call.method === "GET" || call.method === "HEAD");
      if (!moves || location === undefined) return { ...answer, url };
      await readBody(answer, wasteLimit);
      if (hops === mostRedirects) {
        throw new UserError(`${call.what}: ${host} redirects without an end`, {
          fix: "Tell those who run the registry.",
        });
      }
      url = resolveLocation(host, plain, location, url);
    }
  };

  const call = async (call: Call): Promise<CallAnswer> => {
    let url = base;
    const once = async () => {
      const answer = await followed(call);
      ({ url } = answer);
      return answer;
    };
    const answer = await (call.once === true ? once() : persistent(once, call.signal));
    if (call.expected.includes(answer.status)) return { ...answer, url };
    const said = saidIn(await readBody(answer, wasteLimit));
    const sends = call.method !== "GET" && call.method !== "HEAD";
    throw statusError(host, call.what, { status: answer.status, said, sends });
  };

  return {
    call,
    pause: (attempt, signal) => sleep(pauseMs(attempt), signal),
    document: (request, limit) =>
      retry(
        async () => {
          const answer = await call(request);
          const bytes = await readBody(answer, limit);
          if (bytes !== undefined) return { answer, bytes };
          throw new RegistryError(`${request.what}: ${host} answered with more than ${limit} bytes`, {
            code: "failed",
            fix: "Check that the name is that of an image or a chart.",
          });
        },
        {
          attempts,
          delayMs: options.retryDelayMs,
          retryable: isTransient,
          ...(request.signal === undefined ? {} : { signal: request.signal }),
        },
      ),
  };
}

/** Where a registry sends us; never from an encrypted connection to one that is not. */
export function resolveLocation(host: string, plain: boolean, location: URL | string, from: URL): URL {
  const url = URL.parse(String(location), from.href);
  const safe =
    url?.protocol === "https:" || (url?.protocol === "http:" && (plain || isLoopback(url.hostname)));
  if (url === null || !safe) {
    throw new UserError(
      `${host} sends us to "${String(location).slice(0, 200)}", which is not an HTTPS address`,
      {
        fix: "Tell those who run the registry.",
      },
    );
  }
  return url;
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
