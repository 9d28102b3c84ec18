/** What a forge sends, before anything in it is believed: raw bytes and headers, and the proof of who sent them. */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { UserError } from "@kws/base/errors";

/** By lower-case name, as Node gives them. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** A delivery that nobody with the secret has sent, or not now. Its message names no secret and nothing computed from one. */
export class Refusal extends UserError {
  override name = "Refusal";

  constructor(reason: string) {
    super(`the delivery is refused: ${reason}`, {
      code: "permission",
      fix: "Give the forge's webhook the secret that was shown when it was made here, and send again.",
    });
  }
}

/** The header's one value. Throws a `Refusal` where it is missing, repeated, or longer than any forge's. */
export function header(headers: Headers, name: string): string {
  const value = headers[name];
  if (typeof value !== "string" || value === "") throw new Refusal(`it has no header ${name}`);
  if (value.length > 1024) throw new Refusal(`its header ${name} is too long`);
  return value;
}

/** In a time that does not depend on where the two differ. */
export function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/**
 * Checks the hexadecimal HMAC-SHA256 of the body, which most forges send. Answers the body's digest: what is signed is the body
 * alone, so that a delivery sent again under another id is known by its body, which holds the time of what happened.
 */
export function verifyBody(body: Uint8Array, sent: string, secrets: string[]): string {
  const given = Buffer.from(sent, "hex");
  const signed = secrets.map((secret) => createHmac("sha256", secret).update(body).digest());
  // Every secret is tried, so that the time tells nothing about which one it was.
  const matches = signed.map((one) => equal(one, given));
  if (!matches.includes(true)) throw new Refusal("no secret of the webhook has made its signature");
  return createHash("sha256").update(body).digest("hex");
}

/** The value of a header such as `sha256=…`. */
export function sha256Header(headers: Headers, name: string): string {
  const value = header(headers, name);
  if (!value.startsWith("sha256=")) throw new Refusal(`its header ${name} is not an HMAC-SHA256`);
  return value.slice("sha256=".length);
}
