/**
 * The walk over a file's documents that encrypts or decrypts the values that the rule selects, and the MAC over what it saw:
 * SHA-512 of all scalars but null in order, over all documents, without keys, separators or comments.
 */
import { createHash, hash, type Hash } from "node:crypto";
import { messageOf } from "@kws/base/errors";
import { bytesOf, type Cipher, isSealed, type Sealable } from "./cipher.ts";
import { SopsError } from "./errors.ts";
import { formatPath, formatPlace } from "./place.ts";
import { selector, type Selection, type Surroundings } from "./rules.ts";
import {
  str,
  type Comment,
  type Entry,
  type ListNode,
  type MapNode,
  type Place,
  type TreeNode,
} from "./tree.ts";

/** How the values of a file are selected. */
export interface Protection {
  selection: Selection;
  /** The MAC covers only what is encrypted. */
  macOnlyEncrypted: boolean;
}

export interface Crypted {
  documents: MapNode[];
  /** Hexadecimal, upper case. */
  mac: string;
}

export interface Decrypted extends Crypted {
  /** Comments that the rule selects and that stood in the clear: old versions of sops did not encrypt comments. */
  clearComments: ClearComment[];
}

export interface ClearComment {
  /** The keys of what it is in, without indexes. */
  keys: readonly string[];
  at: Place | undefined;
}

/** Decrypts what is selected. A place that cannot be opened is told by its path, never by its content. */
export function decryptDocuments(
  documents: readonly MapNode[],
  protection: Protection,
  cipher: Cipher,
  file: string | undefined,
): Decrypted {
  const mac = createMac(protection);
  const clearComments: ClearComment[] = [];
  const isSelected = selector(protection.selection);
  const decrypted = walkDocuments(documents, (value, where) => {
    const selected = isSelected(where);
    if (selected && value.kind === "comment" && value.text !== "" && !isSealed(value.text))
      clearComments.push({ keys: [...where.keys], at: value.at });
    const plain = selected ? openValue(value, where, cipher, file) : value;
    if (plain.kind !== "comment" && (selected || !protection.macOnlyEncrypted)) mac.update(bytesOf(plain));
    return plain;
  });
  return { documents: decrypted, mac: mac.digest("hex").toUpperCase(), clearComments };
}

function openValue(value: Sealable, where: Surroundings, cipher: Cipher, file: string | undefined): Sealable {
  if (value.kind === "comment") return openComment(value, where, cipher);
  try {
    if (value.kind !== "str") {
      throw new Error(`it is a ${value.kind} in the clear where the rule wants an encrypted value`);
    }
    return { ...cipher.open(value.value, additionalData(where)), at: value.at };
  } catch (error) {
    throw new SopsError(
      "errorDecryptingTree",
      `${formatPath(where.keys)} cannot be decrypted: ${messageOf(error)}`,
      {
        at: formatPlace(file, value.at),
        fix: "Restore the line from version control; change encrypted files only with what decrypts them first.",
      },
    );
  }
}

/** Stays as it is where it cannot be opened. */
function openComment(comment: Comment, where: Surroundings, cipher: Cipher): Comment {
  try {
    const opened = cipher.open(comment.text, additionalData(where));
    return opened.kind === "comment" ? { ...comment, text: opened.text } : comment;
  } catch {
    return comment;
  }
}

/** Encrypts what is selected. */
export function encryptDocuments(
  documents: readonly MapNode[],
  protection: Protection,
  cipher: Cipher,
): Crypted {
  const mac = createMac(protection);
  const isSelected = selector(protection.selection);
  const encrypted = walkDocuments(documents, (value, where) => {
    const selected = isSelected(where);
    if (value.kind !== "comment" && (selected || !protection.macOnlyEncrypted)) mac.update(bytesOf(value));
    if (!selected) return value;
    const text = cipher.seal(value, additionalData(where));
    if (value.kind === "comment") {
      if (text === "") return value;
      const comments = [...where.comments.slice(0, -1), [text]];
      if (
        protection.selection.unencrypted_comment_regex !== undefined &&
        !isSelected({ ...where, comments })
      ) {
        throw new SopsError("errorEncryptingTree", "unencrypted_comment_regex matches an encrypted comment", {
          code: "config",
          fix: "Choose an expression that no `ENC[AES256_GCM,…]` can match.",
        });
      }
    }
    return str(text);
  });
  return { documents: encrypted, mac: mac.digest("hex").toUpperCase() };
}

function createMac({ macOnlyEncrypted }: Protection): Hash {
  const mac = createHash("sha512");
  // So that the two kinds of MAC never agree, whatever the file says.
  if (macOnlyEncrypted) mac.update(hash("sha256", "sops", "buffer"));
  return mac;
}

function additionalData({ keys }: Surroundings): string {
  return `${keys.join(":")}:`;
}

type Visit = (value: Sealable, where: Surroundings) => Sealable;

/** Calls for every scalar but null and every comment, in order, and answers the tree of what came back. */
function walkDocuments(documents: readonly MapNode[], visit: Visit): MapNode[] {
  const keys: string[] = [];
  const comments: string[][] = [];

  const visitComment = (comment: Comment): Sealable => {
    comments.at(-1)!.push(comment.text);
    return visit(comment, { keys, comments, isComment: true });
  };
  const walk = (node: TreeNode): TreeNode | Comment => {
    if (node.kind === "map") return walkMap(node);
    if (node.kind === "list") return walkList(node);
    return node.kind === "null" ? node : visit(node, { keys, comments, isComment: false });
  };
  const walkMap = (map: MapNode): MapNode => {
    comments.push([]);
    const entries = map.entries.map((entry): Entry | Comment => {
      if (entry.kind === "comment") {
        const visited = visitComment(entry);
        return visited.kind === "str" ? { ...entry, text: visited.value } : (visited as Comment);
      }
      keys.push(entry.key);
      const value = walk(entry.value);
      keys.pop();
      comments[comments.length - 1] = [];
      if (value.kind !== "comment") return { ...entry, value };
      throw new SopsError(
        "errorDecryptingTree",
        `${formatPath([...keys, entry.key])} holds an encrypted comment`,
        { fix: "Restore the line from version control." },
      );
    });
    comments.pop();
    return { ...map, entries };
  };
  const walkList = (list: ListNode): ListNode => {
    comments.push([]);
    const items = list.items.map((item) => {
      if (item.kind === "comment") {
        // As sops writes it: an encrypted comment between items is an item, told from them by its type alone.
        return visitComment(item);
      }
      const visited = walk(item);
      comments[comments.length - 1] = [];
      return visited;
    });
    comments.pop();
    return { ...list, items };
  };
  return documents.map(walkMap);
}
