/**
 * The signatures of the Standard Webhooks specification 1.0: HMAC-SHA256 over `id.timestamp.body` with a base64 key that is
 * written `whsec_…`. Those of our own hooks and channels, and of newer GitLabs.
 */
import { createHmac } from "node:crypto";
import { UserError } from "@kws/base/errors";
import { equal, type Headers, header, Refusal } from "./in/delivery.ts";

const prefix = "whsec_";
/** How far the sender's clock may be from ours, in milliseconds; the specification's own libraries take the same. */
const tolerance = 5 * 60_000;

/** The headers of a body that is sent at `time`, in milliseconds since 1970. */
export function signedHeaders(
  id: string,
  time: number,
  body: string | Uint8Array,
  secret: string,
): Record<"webhook-id" | "webhook-timestamp" | "webhook-signature", string> {
  const timestamp = String(Math.floor(time / 1000));
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature(id, timestamp, body, keyOf(secret)).toString("base64")}`,
  };
}

/** The delivery's id, where one of the secrets has signed it and it is not old. Throws a `Refusal`. */
export function verifySigned(body: Uint8Array, headers: Headers, secrets: string[], now: number): string {
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(now - Number(timestamp) * 1000) > tolerance) {
    throw new Refusal("its webhook-timestamp is more than five minutes from this server's clock");
  }
  const sent = header(headers, "webhook-signature")
    .split(" ")
    .filter((entry) => entry.startsWith("v1,"))
    .map((entry) => Buffer.from(entry.slice(3), "base64"));
  const signed = secrets
    .filter((secret) => secret.startsWith(prefix))
    .map((secret) => signature(id, timestamp, body, keyOf(secret)));
  if (!signed.some((one) => sent.some((other) => equal(one, other)))) {
    throw new Refusal("no secret of the webhook has made its webhook-signature");
  }
  return id;
}

function signature(id: string, timestamp: string, body: string | Uint8Array, key: Buffer): Buffer {
  return createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
}

/** A secret's key. Throws a `config` `UserError` for what is not base64 of 24 to 64 bytes, as the specification asks for. */
export function keyOf(secret: string): Buffer {
  const text = secret.startsWith(prefix) ? secret.slice(prefix.length) : "";
  const key = Buffer.from(text, "base64");
  if (!/^[A-Za-z0-9+/]+=*$/.test(text) || key.length < 24 || key.length > 64) {
    throw new UserError("the secret is not a key for signatures", {
      code: "config",
      fix: "Write whsec_ and 24 to 64 random bytes in base64, such as those of `openssl rand -base64 32`.",
    });
  }
  return key;
}
