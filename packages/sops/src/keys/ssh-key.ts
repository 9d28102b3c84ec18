/** SSH keys as their files hold them: public ones (RFC 4253 section 6.6, RFC 8709) and private ones (OpenSSH's PROTOCOL.key, PEM). */
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";

export interface SshPublicKey {
  type: "ssh-ed25519" | "ssh-rsa";
  key: KeyObject;
  /** As it goes over the wire: what fingerprints are made of. */
  wire: Buffer;
}

/** Reads a line of `authorized_keys` without options: type, base64, comment. Throws on other types. */
export function parseSshPublicKey(line: string): SshPublicKey {
  const [, base64 = ""] = line.trim().split(/\s+/);
  const wire = Buffer.from(base64, "base64");
  const fields = readFields(wire);
  const type = fields.text();
  if (!line.startsWith(`${type} `)) throw new Error("its type and its data differ");
  const jwk = type === "ssh-ed25519" ? ed25519Public(fields.bytes()) : rsaPublic(type, fields);
  if (!fields.atEnd()) throw new Error("something follows the key");
  return toPublic(createPublicKey({ key: jwk, format: "jwk" }));
}

/** The public half of a key that `readSshPrivateKey` gave. */
export function publicHalf(key: KeyObject): SshPublicKey {
  return toPublic(createPublicKey(key));
}

/** Throws for other kinds of keys than Ed25519 and RSA, and for those that a passphrase protects. */
export function readSshPrivateKey(text: string): KeyObject {
  const key = text.includes("BEGIN OPENSSH PRIVATE KEY") ? readOpenSsh(text) : readPem(text);
  if (key.asymmetricKeyType !== "ed25519" && key.asymmetricKeyType !== "rsa") {
    throw new Error(
      `keys of type ${key.asymmetricKeyType} cannot decrypt; age takes ssh-ed25519 and ssh-rsa`,
    );
  }
  return key;
}

function readPem(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_MISSING_PASSPHRASE")
      throw protectedKey();
    throw new Error("it is not an SSH private key", { cause: error });
  }
}

function protectedKey(): Error {
  return new Error(
    "it is protected by a passphrase; set SOPS_AGE_SSH_PRIVATE_KEY_CMD to a command that prints it without, such as one that asks for " +
      "the passphrase and has `ssh-keygen -p` remove it from a copy in memory",
  );
}

const openSshMagic = "openssh-key-v1\0";

function readOpenSsh(text: string): KeyObject {
  const base64 = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END OPENSSH PRIVATE KEY-----/.exec(
    text,
  )?.[1];
  const file = Buffer.from(base64 ?? "", "base64");
  if (file.toString("latin1", 0, openSshMagic.length) !== openSshMagic)
    throw new Error("it is cut off or damaged");
  const fields = readFields(file.subarray(openSshMagic.length));
  const cipher = fields.text();
  fields.bytes(); // The name of the key derivation.
  fields.bytes(); // Its options.
  if (fields.number() !== 1) throw new Error("it does not hold exactly one key");
  fields.bytes(); // The public key, which the private section repeats.
  const section = fields.bytes();
  if (cipher !== "none") throw protectedKey();
  return readPrivateSection(readFields(section));
}

function readPrivateSection(fields: Fields): KeyObject {
  if (fields.number() !== fields.number()) throw new Error("it is damaged");
  const type = fields.text();
  if (type === "ssh-ed25519") {
    const publicKey = fields.bytes();
    const d = fields.bytes().subarray(0, 32).toString("base64url");
    return createPrivateKey({ key: { ...ed25519Public(publicKey), d }, format: "jwk" });
  }
  if (type !== "ssh-rsa")
    throw new Error(`keys of type ${type} cannot decrypt; age takes ssh-ed25519 and ssh-rsa`);
  const [n, e, d, qi, p, q] = [
    fields.mpint(),
    fields.mpint(),
    fields.mpint(),
    fields.mpint(),
    fields.mpint(),
    fields.mpint(),
  ];
  const jwk = { n, e, d, qi, p, q, dp: d % (p - 1n), dq: d % (q - 1n) };
  const encoded = Object.fromEntries(Object.entries(jwk).map(([name, value]) => [name, base64url(value)]));
  return createPrivateKey({ key: { kty: "RSA", ...encoded }, format: "jwk" });
}

function ed25519Public(bytes: Buffer): JsonWebKey {
  if (bytes.length !== 32) throw new Error(`an Ed25519 key has 32 bytes, not ${bytes.length}`);
  return { kty: "OKP", crv: "Ed25519", x: bytes.toString("base64url") };
}

function rsaPublic(type: string, fields: Fields): JsonWebKey {
  if (type !== "ssh-rsa")
    throw new Error(`keys of type ${type} cannot encrypt; age takes ssh-ed25519 and ssh-rsa`);
  const [e, n] = [fields.mpint(), fields.mpint()];
  return { kty: "RSA", n: base64url(n), e: base64url(e) };
}

function toPublic(key: KeyObject): SshPublicKey {
  const jwk = key.export({ format: "jwk" });
  const bytes = (value: string | undefined) => Buffer.from(value ?? "", "base64url");
  if (jwk.kty === "OKP") return { type: "ssh-ed25519", key, wire: wireOf("ssh-ed25519", bytes(jwk.x)) };
  return { type: "ssh-rsa", key, wire: wireOf("ssh-rsa", positive(bytes(jwk.e)), positive(bytes(jwk.n))) };
}

function wireOf(type: string, ...fields: Buffer[]): Buffer {
  return Buffer.concat(
    [Buffer.from(type), ...fields].flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(field.length);
      return [length, field];
    }),
  );
}

/** A number whose first bit is set would be negative as an mpint (RFC 4251 section 5). */
function positive(bytes: Buffer): Buffer {
  return (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes]);
}

function base64url(value: bigint): string {
  const hex = value.toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex").toString("base64url");
}

/** Reads the data types of RFC 4251 section 5, one after the other. */
interface Fields {
  atEnd: () => boolean;
  number: () => number;
  bytes: () => Buffer;
  text: () => string;
  mpint: () => bigint;
}

function readFields(data: Buffer): Fields {
  let at = 0;
  const take = (length: number) => {
    if (length > data.length - at) throw new Error("it is cut off or damaged");
    at += length;
    return data.subarray(at - length, at);
  };
  const number = () => take(4).readUInt32BE();
  const bytes = () => take(number());
  return {
    atEnd: () => at === data.length,
    number,
    bytes,
    text: () => bytes().toString("latin1"),
    mpint: () => BigInt(`0x0${bytes().toString("hex")}`),
  };
}
