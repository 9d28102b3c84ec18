/**
 * SSH keys as age recipients and identities: the stanzas `ssh-ed25519` and `ssh-rsa`, which filippo.io/age/agessh defines.
 * An Ed25519 key also opens what is for the age recipient made from it (`ssh-to-age`).
 */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  hkdfSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  type webcrypto,
} from "node:crypto";
import type { Identity, Recipient, Stanza } from "age-encryption";
import { parseSshPublicKey, publicHalf, readSshPrivateKey, type SshPublicKey } from "./ssh-key.ts";

/** Throws where the line is no public key that age takes. */
export async function sshRecipient(line: string): Promise<Recipient> {
  const { Stanza } = await import("age-encryption");
  const recipient = parseSshPublicKey(line);
  const curve = await import("@noble/curves/ed25519.js");
  const tag = tagOf(recipient);
  if (recipient.type === "ssh-rsa") {
    const bits = recipient.key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits < 2048) throw new Error(`RSA keys need at least 2048 bits, and it has ${bits}`);
    return {
      wrapFileKey: (fileKey) => [
        new Stanza(["ssh-rsa", tag], publicEncrypt({ key: recipient.key, ...oaep }, fileKey)),
      ],
    };
  }
  const theirs = curve.ed25519.utils.toMontgomery(rawOf(recipient.key, "x"));
  return {
    wrapFileKey: (fileKey) => {
      const ephemeral = randomBytes(32);
      const share = curve.x25519.scalarMultBase(ephemeral);
      const shared = curve.x25519.scalarMult(tweakOf(recipient), curve.x25519.scalarMult(ephemeral, theirs));
      const sealed = seal(wrapKey(shared, share, theirs), fileKey);
      return [new Stanza(["ssh-ed25519", tag, unpadded(share)], sealed)];
    },
  };
}

/** The identities of a private key's file. Throws where it is none, or one that a passphrase protects. */
export async function sshIdentities(text: string): Promise<(Identity | webcrypto.CryptoKey)[]> {
  const key = readSshPrivateKey(text);
  const recipient = publicHalf(key);
  if (recipient.type === "ssh-rsa") {
    return [matching(recipient, 2, ({ body }) => privateDecrypt({ key, ...oaep }, body))];
  }
  const { ed25519, x25519 } = await import("@noble/curves/ed25519.js");
  const secret = ed25519.utils.toMontgomerySecret(rawOf(key, "d"));
  const ours = x25519.getPublicKey(secret);
  const identity = matching(recipient, 3, ({ args, body }) => {
    const share = Buffer.from(args[2] ?? "", "base64");
    if (share.length !== 32 || body.length !== 32) throw new Error("invalid ssh-ed25519 stanza");
    const shared = x25519.scalarMult(tweakOf(recipient), x25519.scalarMult(secret, share));
    return open(wrapKey(shared, share, ours), body);
  });
  return [identity, x25519Key(secret)];
}

/** An identity for the stanzas that carry the recipient's tag, with that many arguments. */
function matching(recipient: SshPublicKey, length: number, unwrap: (stanza: Stanza) => Uint8Array): Identity {
  const tag = tagOf(recipient);
  return {
    unwrapFileKey: (stanzas) => {
      for (const stanza of stanzas) {
        if (stanza.args[0] !== recipient.type || stanza.args[1] !== tag) continue;
        if (stanza.args.length !== length) throw new Error(`invalid ${recipient.type} stanza`);
        return unwrap(stanza);
      }
      return null;
    },
  };
}

const oaep = {
  padding: constants.RSA_PKCS1_OAEP_PADDING,
  oaepHash: "sha256",
  oaepLabel: Buffer.from("age-encryption.org/v1/ssh-rsa"),
};

const ed25519Label = "age-encryption.org/v1/ssh-ed25519";

/** Four bytes of the key's fingerprint, by which an identity knows its stanza. */
function tagOf({ wire }: SshPublicKey): string {
  return unpadded(createHash("sha256").update(wire).digest().subarray(0, 4));
}

/** Ties the shared secret to the SSH key, whose X25519 form other keys may have too. */
function tweakOf({ wire }: SshPublicKey): Uint8Array {
  return derive(new Uint8Array(), wire);
}

function wrapKey(shared: Uint8Array, share: Uint8Array, recipient: Uint8Array): Uint8Array {
  return derive(shared, Buffer.concat([share, recipient]));
}

function derive(secret: Uint8Array, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, salt, ed25519Label, 32));
}

/** The nonce may be zero because every key is used once. */
const zeroNonce = Buffer.alloc(12);
const aead = { authTagLength: 16 };

function seal(key: Uint8Array, fileKey: Uint8Array): Uint8Array {
  const cipher = createCipheriv("chacha20-poly1305", key, zeroNonce, aead);
  return Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
}

function open(key: Uint8Array, body: Uint8Array): Uint8Array {
  const decipher = createDecipheriv("chacha20-poly1305", key, zeroNonce, aead).setAuthTag(body.subarray(16));
  return Buffer.concat([decipher.update(body.subarray(0, 16)), decipher.final()]);
}

/** Web Crypto takes a raw X25519 secret only as PKCS #8 (RFC 8410), whose head is always the same. */
function x25519Key(secret: Uint8Array): webcrypto.CryptoKey {
  const head = Buffer.from("302e020100300506032b656e04220420", "hex");
  const key = createPrivateKey({ key: Buffer.concat([head, secret]), format: "der", type: "pkcs8" });
  return key.toCryptoKey({ name: "X25519" }, false, ["deriveBits"]);
}

function rawOf(key: KeyObject, field: "x" | "d"): Uint8Array {
  return Buffer.from(key.export({ format: "jwk" })[field] ?? "", "base64url");
}

function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64").replaceAll("=", "");
}
