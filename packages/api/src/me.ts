/** Who the caller is, as the server sees it. */
import { type Static, Type } from "typebox";
import { Grant } from "./access.ts";
import { defineRoute } from "./route.ts";

export const Me = Type.Object({
  kind: Type.Enum(["local", "user", "token"], {
    description: "`local` has the administrator's token; `token` is a service token.",
  }),
  id: Type.String({ description: "A user's `sub` at the identity provider, or the id of a service token." }),
  name: Type.String({ description: "As the audit log names the caller." }),
  teams: Type.Array(Type.String()),
  grants: Type.Array(Grant, { description: "What the caller may do." }),
  expiresAt: Type.Optional(Type.String({ description: "When the token ends." })),
});
export type Me = Static<typeof Me>;

export const getMe = defineRoute({
  method: "GET",
  path: "/api/v1/me",
  response: Me,
  permission: "self",
  summary: "Who the caller is",
});
