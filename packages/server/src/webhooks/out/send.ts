/**
 * One request to somebody else's server: to a checked address, without redirects, within a time, and with an answer that says
 * whether to try again. Addresses of webhooks are secrets: no error and no answer holds more of them than the host.
 */
import { lookup as resolveName } from "node:dns/promises";
import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { type BlockList, isIP, type LookupFunction } from "node:net";
import { messageOf, UserError } from "@kws/base/errors";
import { isRefused } from "./addresses.ts";

export interface OutgoingRequest {
  url: string;
  headers: Record<string, string>;
  body: string;
}

export interface SendOptions {
  /** Private networks that may be sent to. */
  allowed: BlockList;
  timeoutMs: number;
  signal?: AbortSignal;
  /** All addresses of a name; the system's resolver unless given. */
  resolve?: (host: string) => Promise<{ address: string; family: number }[]>;
}

/** `retry` where the other side may take it later. */
export type Outcome =
  | { result: "sent" }
  | { result: "retry"; reason: string; retryAfterMs?: number }
  | { result: "failed"; reason: string };

/** Posts once. Answers for everything that the other side or the network does; throws only where `signal` aborts. */
export async function send(
  request: OutgoingRequest,
  options: SendOptions,
  now: () => number,
): Promise<Outcome> {
  const { allowed, timeoutMs, signal, resolve = (host) => resolveName(host, { all: true }) } = options;
  let url: URL;
  try {
    url = checkedUrl(request.url, allowed);
  } catch (error) {
    return { result: "failed", reason: messageOf(error) };
  }
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  try {
    const response = await exchange(url, request, either, lookupIn(resolve, allowed));
    // Only the status is read: what comes after it may never end.
    response.destroy();
    return outcomeOf(url, response, now());
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof UserError) return { result: "failed", reason: error.message };
    const why = timeout.aborted ? `no answer within ${timeoutMs} ms` : codeOf(error);
    return { result: "retry", reason: `${url.host} cannot be reached: ${why}` };
  }
}

/** The address of a channel, as far as it can be judged before its name is resolved. Throws a `config` `UserError`. */
export function checkedUrl(text: string, allowed: BlockList): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
    throw new UserError("the address is not one that messages can be sent to", {
      code: "config",
      fix: "Give an https:// address without user and password in it.",
    });
  }
  // The parser has turned octal, hexadecimal and single numbers into the usual form.
  const host = hostOf(url);
  if (isIP(host) !== 0 && isRefused(host, allowed)) throw refusal(url.hostname);
  return url;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

/** Resolves once and connects to what was checked: a name that answers differently the next time gains nothing. */
function lookupIn(resolve: NonNullable<SendOptions["resolve"]>, allowed: BlockList): LookupFunction {
  return (host, { all }, callback) => {
    const answer = async () => {
      try {
        const good = (await resolve(host)).filter(({ address }) => !isRefused(address, allowed));
        const [first] = good;
        if (first === undefined) throw refusal(host);
        return all === true ? () => callback(null, good) : () => callback(null, first.address, first.family);
      } catch (error) {
        return () => callback(error instanceof Error ? error : new Error(messageOf(error)), "");
      }
    };
    void (async () => (await answer())())();
  };
}

function refusal(host: string): UserError {
  return new UserError(`${host} is in a network that messages are not sent to`, {
    code: "permission",
    fix: "Use a public address, or allow the network in the server's configuration.",
  });
}

async function exchange(
  url: URL,
  { headers, body }: OutgoingRequest,
  signal: AbortSignal,
  lookup: LookupFunction,
): Promise<IncomingMessage> {
  const begin = url.protocol === "https:" ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const request: ClientRequest = begin(url, {
      method: "POST",
      agent: false,
      headers: { ...headers, "content-length": Buffer.byteLength(body), "user-agent": "kws" },
      lookup,
      signal,
    });
    request.once("response", resolve);
    // Also after the answer, when what is left of the connection is thrown away.
    request.on("error", reject);
    request.end(body);
  });
}

/** Statuses that say "not now"; every other one of the client's faults stays one. */
const later = new Set([408, 425, 429]);

function outcomeOf(url: URL, response: IncomingMessage, now: number): Outcome {
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return { result: "sent" };
  const reason = `${url.host} answered ${status}`;
  if (status >= 300 && status < 400)
    return { result: "failed", reason: `${reason}, and redirects are not followed` };
  if (status < 500 && !later.has(status)) return { result: "failed", reason };
  const retryAfterMs = parseRetryAfter(response.headers["retry-after"], now);
  return { result: "retry", reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** Milliseconds of a Retry-After header, which is in seconds or a date (RFC 9110, section 10.2.3). */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const time = Date.parse(value);
  return Number.isNaN(time) ? undefined : Math.max(0, time - now);
}

/** Node's own messages may hold the whole address. */
function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "the connection failed";
}
