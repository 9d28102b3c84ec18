/** The JSON of a delivery, read with suspicion: a secret that leaked makes nobody a friend. */
import { UserError } from "@kws/base/errors";
import { type Static, type TSchema, Type } from "typebox";
import { Value } from "typebox/value";

/** Bytes; GitHub sends 25 MB at most, and what names commits and not files is far below this. */
export const maxBody = 25 * 2 ** 20;
/** Objects and arrays inside each other; no forge goes beyond a dozen. */
const maxDepth = 64;

/** The body, where it has the shape that is read from it. Throws a `usage` `UserError` for anything else. */
export function payload<T extends TSchema>(schema: T, body: Uint8Array): Static<T> {
  if (body.length > maxBody) throw unreadable(`it is larger than ${maxBody / 2 ** 20} MiB`);
  const text = decode(body);
  if (depthOf(text) > maxDepth) throw unreadable(`it is deeper than ${maxDepth} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text, withoutPrototype);
  } catch {
    // The parser's own message quotes the body.
    throw unreadable("it is not JSON");
  }
  if (Value.Check(schema, value)) return value;
  const [first] = Value.Errors(schema, value);
  throw unreadable(`${first?.instancePath || "it"} ${first?.message ?? "has another shape"}`);
}

function decode(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw unreadable("it is not UTF-8");
  }
}

/** Counted before it is parsed: what is deep costs the parser's stack. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (quoted) {
      if (character === "\\") index++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === "{" || character === "[") deepest = Math.max(deepest, ++depth);
    else if (character === "}" || character === "]") depth--;
  }
  return deepest;
}

/** A key that would reach an object's prototype when it is copied, is left out. */
function withoutPrototype(key: string, value: unknown): unknown {
  return key === "__proto__" ? undefined : value;
}

function unreadable(reason: string): UserError {
  return new UserError(`the delivery cannot be read: ${reason}`, {
    code: "usage",
    fix: "Let the forge send application/json, and its own payloads unchanged.",
  });
}

const line = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, pattern: "^[^\\u0000-\\u001f\\u007f]*$" });

/** Commit or annotated tag; SHA-1 or SHA-256. */
export const Sha = Type.String({ pattern: "^([0-9a-f]{40}|[0-9a-f]{64})$" });
/** A name of one line, such as a branch's or a person's. */
export const Name = line(1024);
export const Url = line(2048);
export const Count = Type.Integer({ minimum: 1 });
