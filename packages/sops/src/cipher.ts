/**
 * One value: AES-256-GCM with a nonce of 32 bytes, as `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`. The additional data is the
 * path of the value, so that none can be moved to another place.
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from "node:crypto";
import { SopsError } from "./errors.ts";
import { fixed, parseFloating, parseInteger } from "./numbers.ts";
import { integer, strOfBytes, type Comment, type Scalar, type ScalarOf } from "./tree.ts";

const nonceLength = 32;
const tagLength = 16;
const base64 = "[A-Za-z0-9+/]+={0,2}";
const pattern = new RegExp(
  `^ENC\\[AES256_GCM,data:(${base64}),iv:(${base64}),tag:(${base64}),type:([a-z]+)\\]`,
);

/** What can be sealed. */
export type Sealable = Exclude<Scalar, ScalarOf<"null">> | Comment;

/** Opens and seals the values of one file. */
export interface Cipher {
  /** Throws an `Error` without place or plaintext; the caller knows where it is. */
  open(text: string, aad: string): Sealable;
  /** What was opened before with the same additional data gets the ciphertext that it had. */
  seal(value: Sealable, aad: string): string;
}

/** True where a text is an encrypted value and nothing more; what follows one is passed over when it is opened, as sops does. */
export function isSealed(text: string): boolean {
  return pattern.exec(text)?.[0] === text;
}

export function createCipher(dataKey: Uint8Array): Cipher {
  if (dataKey.length !== 32) {
    throw new SopsError("couldNotRetrieveKey", `the data key has ${dataKey.length} bytes instead of 32`, {
      fix: "The file was damaged, or it is none that sops wrote.",
    });
  }
  // A key object is several times faster than bytes, which would become one for every value.
  const key = createSecretKey(dataKey);
  const nonces = new Map<string, Buffer>();
  return {
    open(text, aad) {
      if (text === "") return { kind: "str", value: "" };
      const match = pattern.exec(text);
      if (match === null) throw new Error("it does not have the form of an encrypted value");
      const [data, nonce, tag] = [1, 2, 3].map((group) => Buffer.from(match[group]!, "base64")) as [
        Buffer,
        Buffer,
        Buffer,
      ];
      if (tag.length !== tagLength) throw new Error("its tag does not have 16 bytes");
      let plain: Buffer;
      try {
        const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagLength });
        decipher.setAAD(Buffer.from(aad)).setAuthTag(tag);
        plain = Buffer.concat([decipher.update(data), decipher.final()]);
      } catch (error) {
        throw new Error("it was encrypted with another key or for another place, or was changed since", {
          cause: error,
        });
      }
      const value = valueOf(plain, match[4]!);
      if (nonce.length === nonceLength) nonces.set(identity(value, aad), nonce);
      return value;
    },
    seal(value, aad) {
      const plain = bytesOf(value);
      if (plain.length === 0) return "";
      const nonce = nonces.get(identity(value, aad)) ?? randomBytes(nonceLength);
      const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagLength });
      cipher.setAAD(Buffer.from(aad));
      const data = Buffer.concat([cipher.update(plain), cipher.final()]);
      const type = value.kind === "bytes" ? "str" : value.kind;
      const [data64, nonce64, tag64] = [data, nonce, cipher.getAuthTag()].map((bytes) =>
        bytes.toString("base64"),
      );
      return `ENC[AES256_GCM,data:${data64},iv:${nonce64},tag:${tag64},type:${type}]`;
    },
  };
}

/** The bytes of a value as they are encrypted and enter the MAC. */
export function bytesOf(value: Sealable): Uint8Array {
  switch (value.kind) {
    case "bytes":
      return value.value;
    case "comment":
      return Buffer.from(value.text);
    case "float":
      return Buffer.from(fixed(value.value));
    case "bool":
      return Buffer.from(value.value ? "True" : "False");
    default:
      return Buffer.from(String(value.value));
  }
}

function valueOf(plain: Buffer, type: string): Sealable {
  if (type === "str" || type === "bytes") return strOfBytes(plain);
  const text = plain.toString();
  switch (type) {
    case "int": {
      const value = parseInteger(text);
      if (value !== undefined) return integer(value);
      break;
    }
    case "float": {
      const value = parseFloating(text);
      if (value !== undefined) return { kind: "float", value };
      break;
    }
    case "bool":
      if (/^(1|t|T|TRUE|true|True)$/.test(text)) return { kind: "bool", value: true };
      if (/^(0|f|F|FALSE|false|False)$/.test(text)) return { kind: "bool", value: false };
      break;
    case "time":
      return { kind: "time", value: text };
    case "comment":
      return { kind: "comment", text };
    default:
      throw new Error(`its type "${type}" is unknown`);
  }
  throw new Error(`its plaintext is no ${type}`);
}

/** Tells values and their places apart. */
function identity(value: Sealable, aad: string): string {
  const text =
    value.kind === "bytes"
      ? Buffer.from(value.value).toString("latin1")
      : String(value.kind === "comment" ? value.text : value.value);
  return `${aad}\0${value.kind}\0${text}`;
}
