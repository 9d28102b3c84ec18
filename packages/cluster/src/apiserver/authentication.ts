/** Who a request comes from: a client certificate of the cluster's own authority, or a bearer token. */
import { timingSafeEqual, createHash } from "node:crypto";
import type { PeerCertificate } from "node:tls";
import { apiError } from "@kws/kube/status";
import type { User } from "./request.ts";
import { apiAudiences, type TokenIssuer } from "./tokens.ts";

export interface Credentials {
  /** The verified client certificate, where one was presented. */
  certificate?: PeerCertificate;
  /** The `Authorization` header. */
  authorization?: string;
  /** Token in a WebSocket subprotocol, for browsers that cannot set headers. */
  protocols?: string;
}

export interface StaticToken {
  token: string;
  user: User;
}

export const anonymous: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };

/** What may be read without credentials: whether the server lives, and which version it is. */
export function isPublicPath(path: string): boolean {
  return /^\/(?:healthz|livez|readyz)(?:\/|$)|^\/version\/?$/.test(path);
}

/** The user, or undefined without credentials; throws `Unauthorized` for wrong ones. */
export function authenticate(
  credentials: Credentials,
  tokens: TokenIssuer,
  staticTokens: StaticToken[] = [],
): User | undefined {
  const token = bearerToken(credentials);
  if (token !== undefined) {
    const known = staticTokens.find((one) => sameSecret(one.token, token));
    if (known !== undefined) return authenticated(known.user);
    const result = tokens.authenticate(token);
    if ("error" in result || !result.audiences.some((audience) => apiAudiences.includes(audience))) {
      throw unauthorized();
    }
    return result.user;
  }
  const subject = credentials.certificate?.subject;
  // One name may be there once or as a list; the common name is the user, each organization a group.
  const name = [subject?.CN].flat()[0];
  if (subject === undefined || name === undefined || name === "") return undefined;
  return authenticated({ name, groups: [subject.O].flat().filter((group) => group !== undefined) });
}

export function unauthorized(): Error {
  return apiError("Unauthorized", "Unauthorized");
}

function authenticated(user: User): User {
  const group = "system:authenticated";
  return user.groups.includes(group) ? user : { ...user, groups: [...user.groups, group] };
}

function bearerToken({ authorization, protocols }: Credentials): string | undefined {
  const header = /^bearer\s+(?<token>\S+)\s*$/i.exec(authorization ?? "")?.groups?.token;
  if (header !== undefined) return header;
  const protocol = /(?:^|,)\s*base64url\.bearer\.authorization\.k8s\.io\.(?<token>[^\s,]+)/.exec(
    protocols ?? "",
  );
  const encoded = protocol?.groups?.token;
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64url").toString("utf8");
}

function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
