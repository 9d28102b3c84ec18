/**
 * What a file says, whatever its format: ordered maps and lists with comments between the entries, and scalars of the types
 * that the format tells apart when it encrypts. Trees are never changed in place.
 */

import { isUtf8 } from "node:buffer";

/** Line and column, both from 1, in the text that a node was read from. */
export interface Place {
  line: number;
  column: number;
}

export interface Comment {
  kind: "comment";
  /** What follows the comment sign, the blank included. */
  text: string;
  /** It stood behind the value that follows it here, on the same line. */
  inline?: boolean;
  /** Not of INI. */
  at?: Place;
}

/** A leaf; `kind` is what `type:` says in an encrypted value, but for `null`, which is never encrypted. */
export type Scalar =
  | { kind: "str"; value: string; at?: Place }
  /** A string that is not UTF-8. */
  | { kind: "bytes"; value: Uint8Array; at?: Place }
  /** Of 64 bits, signed; a bigint where a number would lose digits. */
  | { kind: "int"; value: number | bigint; at?: Place }
  | { kind: "float"; value: number; at?: Place }
  | { kind: "bool"; value: boolean; at?: Place }
  /** RFC 3339 with as many digits of the second as it needs. */
  | { kind: "time"; value: string; at?: Place }
  | { kind: "null"; at?: Place };

export type ScalarOf<K extends Scalar["kind"]> = Extract<Scalar, { kind: K }>;

export interface Entry {
  kind: "entry";
  key: string;
  value: TreeNode;
  /** Of the key. */
  at?: Place;
}

export interface MapNode {
  kind: "map";
  entries: (Entry | Comment)[];
  at?: Place;
}

export interface ListNode {
  kind: "list";
  items: (TreeNode | Comment)[];
  at?: Place;
}

export type TreeNode = MapNode | ListNode | Scalar;

/** Keys of maps and indexes of lists (comments not counted), from the top of a document. */
export type TreePath = readonly (string | number)[];

export function str(value: string, at?: Place): ScalarOf<"str"> {
  return { kind: "str", value, at };
}

/** An integer as a number where that is exact. */
export function integer(value: bigint, at?: Place): ScalarOf<"int"> {
  const number = Number(value);
  return { kind: "int", value: Number.isSafeInteger(number) ? number : value, at };
}

/** A `str` where the bytes are UTF-8, else `bytes`. */
export function strOfBytes(value: Uint8Array, at?: Place): ScalarOf<"str" | "bytes"> {
  if (!isUtf8(value)) return { kind: "bytes", value, at };
  return { kind: "str", value: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString(), at };
}

/** The entry of a map by its key, the last where a format allows several. */
export function entryOf(map: MapNode, key: string): Entry | undefined {
  return map.entries.findLast((entry): entry is Entry => entry.kind === "entry" && entry.key === key);
}

/** The items of a list that are no comments. */
export function itemsOf(list: ListNode): TreeNode[] {
  return list.items.filter((item): item is TreeNode => item.kind !== "comment");
}

/** The node at a path, or nothing. */
export function find(root: TreeNode, path: TreePath): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  for (const step of path) {
    if (node?.kind === "map") node = entryOf(node, String(step))?.value;
    else if (node?.kind === "list" && typeof step === "number") node = itemsOf(node)[step];
    else return undefined;
  }
  return node;
}

/**
 * A node as plain JavaScript, without comments: bigint for integers beyond 2^53, RFC 3339 text for times, Uint8Array for
 * strings that are not UTF-8. No key of a file reaches a prototype.
 */
export function toPlain(node: TreeNode): unknown {
  switch (node.kind) {
    case "map": {
      const plain: Record<string, unknown> = {};
      for (const entry of node.entries) {
        if (entry.kind === "comment") continue;
        Object.defineProperty(plain, entry.key, {
          value: toPlain(entry.value),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
      return plain;
    }
    case "list":
      return itemsOf(node).map(toPlain);
    case "null":
      return null;
    default:
      return node.value;
  }
}

/** The tree of a plain value: integral numbers become integers, a Uint8Array a string of bytes. */
export function fromPlain(value: unknown): TreeNode {
  if (value === null || value === undefined) return { kind: "null" };
  if (typeof value === "string") return str(value);
  if (typeof value === "boolean") return { kind: "bool", value };
  if (typeof value === "bigint") return integer(value);
  if (typeof value === "number") {
    return Number.isSafeInteger(value) ? { kind: "int", value } : { kind: "float", value };
  }
  if (value instanceof Uint8Array) return strOfBytes(value);
  if (value instanceof Date) return { kind: "time", value: value.toISOString().replace(/\.?0*Z$/, "Z") };
  if (Array.isArray(value)) return { kind: "list", items: value.map(fromPlain) };
  if (typeof value === "object") {
    const entries = Object.entries(value).map(([key, one]): Entry => ({
      kind: "entry",
      key,
      value: fromPlain(one),
    }));
    return { kind: "map", entries };
  }
  throw new TypeError(`a ${typeof value} cannot be part of a file`);
}

/** Whether two nodes say the same, comments and order included; where they stand does not matter. */
export function same(one: TreeNode | Comment, other: TreeNode | Comment): boolean {
  if (one.kind === "map" && other.kind === "map") {
    return (
      one.entries.length === other.entries.length &&
      one.entries.every((entry, index) => {
        const twin = other.entries[index]!;
        if (entry.kind !== "entry" || twin.kind !== "entry") {
          return entry.kind === "comment" && twin.kind === "comment" && same(entry, twin);
        }
        return entry.key === twin.key && same(entry.value, twin.value);
      })
    );
  }
  if (one.kind === "list" && other.kind === "list") {
    return (
      one.items.length === other.items.length &&
      one.items.every((item, index) => same(item, other.items[index]!))
    );
  }
  if (one.kind === "comment" || other.kind === "comment") {
    return one.kind === "comment" && other.kind === "comment" && one.text === other.text;
  }
  if (one.kind === "bytes" && other.kind === "bytes") return Buffer.compare(one.value, other.value) === 0;
  return (
    one.kind === other.kind && ("value" in one ? one.value : null) === ("value" in other ? other.value : null)
  );
}
