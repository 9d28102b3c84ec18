/** The audit log: who did what, to what, when, why, from what and to what. Entries are only ever added. */
import { type Static, Type } from "typebox";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

export const AuditEntry = Type.Object(
  {
    seq: Type.Integer({ minimum: 1, description: "Grows from entry to entry; numbers may be missing." }),
    at: Type.String({ format: "date-time" }),
    actor: Type.Object({
      kind: Type.Enum(["local", "user", "token", "server", "webhook", "anonymous"]),
      id: Type.String(),
      name: Type.String(),
    }),
    action: Type.String({ description: "`noun.verb`, such as `token.create`" }),
    subject: Type.String({ description: "What it was done to: a name, or an id." }),
    why: Type.Optional(Type.String()),
    before: Type.Optional(
      Type.Unknown({ description: "Digests and versions, never values that may be secret." }),
    ),
    after: Type.Optional(Type.Unknown()),
    previous: Type.String({ description: "The hash of the entry before, or 64 zeros" }),
    hash: Type.String({ description: "Hex SHA-256 of `previous` and the rest of the entry" }),
  },
  { additionalProperties: false },
);
export type AuditEntry = Static<typeof AuditEntry>;

export const listAudit = defineRoute({
  method: "GET",
  path: "/api/v1/audit",
  query: Type.Object({
    ...pageQuery,
    order: Type.Optional(
      Type.Enum(["newest", "oldest"], { description: "What comes first; `newest` unless given." }),
    ),
    actor: Type.Optional(Type.String({ description: "Only what this one did, by id or name." })),
    action: Type.Optional(Type.String({ description: "Only actions that begin with it." })),
    subject: Type.Optional(Type.String({ description: "Only what was done to this." })),
    since: Type.Optional(Type.String({ format: "date-time" })),
    until: Type.Optional(Type.String({ format: "date-time" })),
  }),
  response: Page(AuditEntry),
  permission: "audit.read",
  summary: "The audit log",
});
