/**
 * Answers a registry's challenges: Basic, and Bearer tokens from the service that it names
 * (https://distribution.github.io/distribution/spec/auth/token/, …/oauth/). Tokens are kept for as long as they last.
 */
import { UserError } from "@kws/base/errors";
import type { Credentials } from "./credentials.ts";
import { RegistryError, saidIn, statusError } from "./failures.ts";
import { isLoopback, readBody } from "./http.ts";
import type { Answer, Exchange } from "./http.ts";

/** `repository:team/orders:pull`. */
export type Scope = string;

export interface Challenge {
  /** In lower case. */
  scheme: string;
  parameters: Record<string, string>;
}

/** WWW-Authenticate (RFC 9110, 11.6.1): several challenges may share the header. */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  const token = /\s*,?\s*([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+)))?/y;
  for (let match = token.exec(header); match !== null; match = token.exec(header)) {
    const [, word = "", quoted, plain] = match;
    const value = quoted?.replace(/\\(.)/g, "$1") ?? plain;
    const last = challenges.at(-1);
    if (value === undefined) challenges.push({ scheme: word.toLowerCase(), parameters: {} });
    else if (last !== undefined) last.parameters[word.toLowerCase()] = value;
  }
  return challenges;
}

export interface Authenticator {
  /** The Authorization header for requests of these scopes, where one is known to be wanted. */
  header(scopes: Scope[]): string | undefined;
  /**
   * Does what an answer with status 401 asks for, of a request that had `shown` in its header; false where there is nothing
   * better to show.
   */
  answer(
    challenges: Challenge[],
    scopes: Scope[],
    shown: string | undefined,
    signal?: AbortSignal,
  ): Promise<boolean>;
}

export interface AuthenticatorOptions {
  /** The host in errors. */
  host: string;
  credentials: () => Promise<Credentials | undefined>;
  /** Sends, and tries again where that may help. */
  send: (exchange: Exchange) => Promise<Answer>;
  /** The registry itself is asked over plain HTTP. */
  plain: boolean;
}

const tokenLimit = 2 ** 20;
/** What a token lasts where its service does not say (the specification's own figure). */
const tokenSeconds = 60;

export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const tokens = new Map<string, { header: string; until: number }>();
  let basic: string | undefined;
  const keyOf = (scopes: Scope[]) => scopes.join(" ");
  const header = (scopes: Scope[]) => {
    const token = tokens.get(keyOf(scopes));
    return token !== undefined && token.until > performance.now() ? token.header : basic;
  };
  return {
    header,
    async answer(challenges, scopes, shown, signal) {
      // Another request may have found out meanwhile.
      const known = header(scopes);
      if (known !== undefined && known !== shown) return true;
      const credentials = await options.credentials();
      const bearer = challenges.find(({ scheme }) => scheme === "bearer");
      if (bearer !== undefined) {
        const { token, seconds } = await fetchToken(options, bearer, scopes, credentials, signal);
        // A little earlier than it ends, for the way to the registry.
        tokens.set(keyOf(scopes), {
          header: `Bearer ${token}`,
          until: performance.now() + seconds * 900,
        });
        return true;
      }
      const wanted = challenges.some(({ scheme }) => scheme === "basic");
      if (!wanted || credentials === undefined || !("username" in credentials)) return false;
      basic = basicHeader(credentials);
      return basic !== shown;
    },
  };
}

async function fetchToken(
  { host, send, plain }: AuthenticatorOptions,
  { parameters }: Challenge,
  scopes: Scope[],
  credentials: Credentials | undefined,
  signal: AbortSignal | undefined,
): Promise<{ token: string; seconds: number }> {
  if (credentials !== undefined && "registryToken" in credentials) {
    return { token: credentials.registryToken, seconds: tokenSeconds };
  }
  const url = realmOf(host, parameters["realm"] ?? "", plain);
  const service = parameters["service"];
  const form = new URLSearchParams();
  if (service !== undefined) form.set("service", service);
  const exchange: Exchange = { method: "GET", url, headers: { accept: "application/json" }, signal };
  if (credentials !== undefined && "identityToken" in credentials) {
    form.set("grant_type", "refresh_token");
    form.set("client_id", "kws");
    form.set("refresh_token", credentials.identityToken);
    form.set("scope", scopes.join(" "));
    exchange.method = "POST";
    exchange.body = Buffer.from(form.toString());
    exchange.headers["content-type"] = "application/x-www-form-urlencoded";
  } else {
    for (const scope of scopes) form.append("scope", scope);
    if (credentials !== undefined) {
      form.set("account", credentials.username);
      exchange.headers["authorization"] = basicHeader(credentials);
    }
    for (const [key, value] of form) url.searchParams.append(key, value);
  }
  const answer = await send(exchange);
  const body = await readBody(answer, tokenLimit);
  if (answer.status !== 200) {
    throw statusError(host, `a token for ${scopes.join(" ")}`, {
      status: answer.status,
      said: saidIn(body),
      sends: false,
    });
  }
  return readToken(host, body);
}

function readToken(host: string, body: Buffer | undefined): { token: string; seconds: number } {
  let document: unknown;
  try {
    document = JSON.parse(body?.toString("utf8") ?? "");
  } catch {
    document = undefined; // Not the parser's own words: they quote what may be a token.
  }
  const fields = (document ?? {}) as { token?: unknown; access_token?: unknown; expires_in?: unknown };
  const token = [fields.token, fields.access_token].find(
    (value) => typeof value === "string" && value !== "",
  );
  // Anything else would end up in a header.
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw new RegistryError(`the token service of ${host} answered without a token`, {
      code: "failed",
      fix: "Try again later; the fault is the registry's.",
    });
  }
  const { expires_in: seconds } = fields;
  return { token, seconds: typeof seconds === "number" && seconds > 0 ? seconds : tokenSeconds };
}

/** Credentials go there, so nobody on the way may read along. */
function realmOf(host: string, realm: string, plain: boolean): URL {
  const url = URL.parse(realm);
  const safe =
    url?.protocol === "https:" || (url?.protocol === "http:" && (plain || isLoopback(url.hostname)));
  if (url === null || !safe) {
    throw new UserError(
      `${host} sends us for a token to "${realm.slice(0, 200)}", which is not an HTTPS address`,
      {
        code: "permission",
        fix: "Do not log in there; tell those who run the registry.",
      },
    );
  }
  return url;
}

function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
