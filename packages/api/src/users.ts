/** People who have signed in, as the identity provider described them then. */
import { type Static, Type } from "typebox";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

export const User = Type.Object({
  subject: Type.String({ description: "The `sub` at the identity provider." }),
  name: Type.String(),
  email: Type.Optional(Type.String()),
  teams: Type.Array(Type.String()),
  disabled: Type.Boolean({ description: "May not sign in, and no token of theirs counts." }),
  signedInAt: Type.String({ description: "Last." }),
});
export type User = Static<typeof User>;

export const listUsers = defineRoute({
  method: "GET",
  path: "/api/v1/users",
  query: Type.Object({ ...pageQuery }),
  response: Page(User),
  permission: "users.read",
  summary: "Everybody who has signed in",
});

export const changeUser = defineRoute({
  method: "PATCH",
  path: "/api/v1/users/:subject",
  params: Type.Object({ subject: Type.String() }),
  body: Type.Object({ disabled: Type.Boolean() }, { additionalProperties: false }),
  response: User,
  permission: "users.write",
  summary: "Disable or enable a user",
});
