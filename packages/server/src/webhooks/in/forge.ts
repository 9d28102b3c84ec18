/** What a forge is to this server: how it proves that a delivery is its own, and what it says in it. A file for each. */
import type { Headers } from "./delivery.ts";
import type { ForgeEvent } from "./event.ts";

export interface Forge {
  /**
   * Throws a `Refusal` unless one of the secrets (two while one replaces the other) made this delivery, over its raw bytes.
   * Answers what is the same when it is sent again: one that was seen before is a retry or a replay.
   * `now` is in milliseconds.
   */
  verify(body: Uint8Array, headers: Headers, secrets: string[], now: number): string;
  /** What a verified delivery says happened; nothing for events that no pipeline runs for. Throws `usage` for what it cannot read. */
  parse(body: Uint8Array, headers: Headers): ForgeEvent[];
}
