/**
 * The audit log's hash chain. Each entry's hash covers its content and the hash before it, so that an entry that was
 * changed, removed or put in later is found by whoever reads on from there.
 */
import { createHash } from "node:crypto";
import type { AuditEntry } from "@kws/api/audit";

/** What an entry says, without its place in the chain. */
export type AuditContent = Omit<AuditEntry, "seq" | "previous" | "hash">;

/** The hash before the first entry. */
export const firstPrevious = "0".repeat(64);

/** Hex SHA-256 of the hash before, a line feed, and the content with the order of its keys settled. */
export function entryHash(previous: string, content: AuditContent): string {
  return createHash("sha256")
    .update(`${previous}\n${canonical(content)}`)
    .digest("hex");
}

export interface Break {
  /** The first entry that does not follow from the one before. */
  seq: number;
  reason: string;
}

/** Follows the chain entry by entry; what it keeps of a log of any length is one hash. */
export class ChainReader {
  #previous: string;
  #seq: number | undefined;

  /** `previous` is the hash that the first entry to be read must follow. */
  constructor(previous: string = firstPrevious) {
    this.#previous = previous;
  }

  /** Undefined where the entry follows. */
  read(entry: AuditEntry): Break | undefined {
    const { seq, previous, hash, ...content } = entry;
    const reason = this.#faultOf(seq, previous, hash, content);
    this.#previous = hash;
    this.#seq = seq;
    return reason === undefined ? undefined : { seq, reason };
  }

  #faultOf(seq: number, previous: string, hash: string, content: AuditContent): string | undefined {
    if (this.#seq !== undefined && seq <= this.#seq) return `it stands after ${this.#seq}`;
    if (previous !== this.#previous)
      return "it does not follow from the entry before: one was removed or put in";
    if (hash !== entryHash(previous, content)) return "its content was changed";
    return undefined;
  }

  /** The hash of the newest entry that was read: kept elsewhere, it proves later that none was cut off the end. */
  get head(): string {
    return this.#previous;
  }
}

/** JSON with keys in order and without what is undefined, so that equal contents have equal text (as RFC 8785 has it). */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`);
  return `{${members.join(",")}}`;
}
