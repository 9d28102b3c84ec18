/**
 * ServiceAccount tokens: JSON Web Tokens (RFC 7519, ES256) signed with the cluster's own key. Claims as
 * https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens.
 */
import { createHash, createPublicKey, randomUUID, sign, verify, type KeyObject } from "node:crypto";
import type { KubeObject } from "@kws/kube/object";
import type { Store } from "../storage/store.ts";
import type { User } from "./request.ts";

export const issuer = "https://kubernetes.default.svc.cluster.local";
export const apiAudiences = [issuer, "https://kubernetes.default.svc"];

export interface TokenSpec {
  audiences: string[];
  expirationSeconds: number;
  /** The object whose end is the token's end. */
  boundObject?: { kind: string; name: string; uid: string };
}

export interface TokenIssuer {
  issue(serviceAccount: KubeObject, spec: TokenSpec): { token: string; expires: number };
  /** The user and the token's audiences, or why it is refused. */
  authenticate(token: string): { user: User; audiences: string[] } | { error: string };
  /** The public key as a JSON Web Key Set, for `/openid/v1/jwks`. */
  keys(): object;
}

interface Claims {
  iss: string;
  sub: string;
  aud: string[];
  exp: number;
  iat: number;
  nbf: number;
  jti: string;
  "kubernetes.io": {
    namespace: string;
    serviceaccount: { name: string; uid: string };
    pod?: { name: string; uid: string };
    secret?: { name: string; uid: string };
    node?: { name: string; uid?: string };
  };
}

export function tokenIssuer(key: KeyObject, store: Store, now: () => number): TokenIssuer {
  const publicKey = createPublicKey(key);
  const jwk = publicKey.export({ format: "jwk" });
  const kid = createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64url");
  return {
    issue(serviceAccount, { audiences, expirationSeconds, boundObject }) {
      const { name, namespace = "", uid = "" } = serviceAccount.metadata;
      const at = Math.floor(now() / 1000);
      const claims: Claims = {
        iss: issuer,
        sub: `system:serviceaccount:${namespace}:${name}`,
        aud: audiences,
        iat: at,
        nbf: at,
        exp: at + expirationSeconds,
        jti: randomUUID(),
        "kubernetes.io": {
          namespace,
          serviceaccount: { name, uid },
          ...(boundObject === undefined
            ? {}
            : { [boundObject.kind.toLowerCase()]: { name: boundObject.name, uid: boundObject.uid } }),
        },
      };
      const head = encode({ alg: "ES256", kid, typ: "JWT" });
      const signed = `${head}.${encode(claims)}`;
      const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
      return { token: `${signed}.${signature.toString("base64url")}`, expires: claims.exp * 1000 };
    },
    authenticate(token) {
      const claims = verifyToken(token, publicKey);
      if (claims === undefined) return { error: "invalid bearer token" };
      const problem = problemWith(claims, store, now() / 1000);
      if (problem !== undefined) return { error: problem };
      return { user: userOf(claims), audiences: claims.aud };
    },
    keys: () => ({ keys: [{ use: "sig", kid, alg: "ES256", ...jwk }] }),
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function verifyToken(token: string, publicKey: KeyObject): Claims | undefined {
  const [head, body, signature, ...more] = token.split(".");
  if (head === undefined || body === undefined || signature === undefined || more.length > 0)
    return undefined;
  try {
    const { alg } = JSON.parse(Buffer.from(head, "base64url").toString()) as { alg?: string };
    if (alg !== "ES256") return undefined;
    const bytes = Buffer.from(signature, "base64url");
    const options = { key: publicKey, dsaEncoding: "ieee-p1363" } as const;
    if (!verify("sha256", Buffer.from(`${head}.${body}`), options, bytes)) return undefined;
    return JSON.parse(Buffer.from(body, "base64url").toString()) as Claims;
  } catch {
    // Not our token: whatever is wrong with it, the answer is the same.
    return undefined;
  }
}

function problemWith(claims: Claims, store: Store, now: number): string | undefined {
  if (claims.exp <= now) return "token has expired";
  if (claims.nbf > now + 60) return "token is not valid yet";
  const { namespace, serviceaccount, pod, secret } = claims["kubernetes.io"];
  const account = store.get("serviceaccounts", `${namespace}/${serviceaccount.name}`);
  if (account?.object.metadata.uid !== serviceaccount.uid) return "service account has been deleted";
  for (const [table, bound] of [
    ["pods", pod],
    ["secrets", secret],
  ] as const) {
    if (bound === undefined) continue;
    const object = store.get(table, `${namespace}/${bound.name}`);
    if (object?.object.metadata.uid !== bound.uid)
      return "the object that the token was bound to has been deleted";
  }
  return undefined;
}

function userOf(claims: Claims): User {
  const { namespace, serviceaccount, pod } = claims["kubernetes.io"];
  return {
    name: claims.sub,
    uid: serviceaccount.uid,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
    extra: {
      "authentication.kubernetes.io/credential-id": [`JTI=${claims.jti}`],
      ...(pod === undefined
        ? {}
        : {
            "authentication.kubernetes.io/pod-name": [pod.name],
            "authentication.kubernetes.io/pod-uid": [pod.uid],
          }),
    },
  };
}
