/** The audit log: who did what, to what, when, why, from what and to what. Entries are only ever added. */
import { type Static, Type } from "typebox";

/** Digests and versions, never values that may be secret. */
const State = Type.Record(Type.String(), Type.Unknown());

export const AuditEntry = Type.Object(
  {
    seq: Type.Integer({ minimum: 1, description: "Grows from entry to entry; numbers may be missing." }),
    at: Type.String({ format: "date-time" }),
    actor: Type.Object({
      kind: Type.Enum(["local", "user", "token", "server", "webhook"]),
      id: Type.String(),
      name: Type.String(),
    }),
    action: Type.String({ description: "`noun.verb`, such as `token.created`" }),
    subject: Type.Object({
      kind: Type.String(),
      id: Type.String(),
    }),
    reason: Type.Optional(Type.String()),
    from: Type.Optional(State),
    to: Type.Optional(State),
    requestId: Type.Optional(Type.String()),
    previous: Type.String({ description: "The hash of the entry before, or 64 zeros" }),
    hash: Type.String({ description: "Hex SHA-256 of `previous` and the rest of the entry" }),
  },
  { additionalProperties: false },
);
export type AuditEntry = Static<typeof AuditEntry>;
