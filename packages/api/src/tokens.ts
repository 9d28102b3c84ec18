/** Tokens that the server has given out. What a token is is shown once, when it is made. */
import { type Static, Type } from "typebox";
import { Role, Scope } from "./access.ts";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

export const Token = Type.Object({
  id: Type.String(),
  kind: Type.Enum(["service", "login", "session"], {
    description: "`login` is the CLI's of a person, `session` a browser's.",
  }),
  name: Type.String(),
  owner: Type.Optional(
    Type.String({ description: "The `sub` of whoever made it, or is signed in with it." }),
  ),
  role: Type.Optional(Role),
  scope: Type.Optional(Scope),
  state: Type.Enum(["active", "expired", "revoked"]),
  createdAt: Type.String(),
  expiresAt: Type.String(),
  usedAt: Type.Optional(Type.String({ description: "To the minute." })),
});
export type Token = Static<typeof Token>;

export const NewToken = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100, description: "What it is for." }),
    role: Role,
    scope: Scope,
    expiresInDays: Type.Number({ exclusiveMinimum: 0, maximum: 366 }),
  },
  { additionalProperties: false },
);

export const listTokens = defineRoute({
  method: "GET",
  path: "/api/v1/tokens",
  query: Type.Object({
    ...pageQuery,
    kind: Type.Optional(Token.properties.kind),
  }),
  response: Page(Token),
  permission: "tokens.read",
  summary: "The tokens, without what they are",
});

export const createToken = defineRoute({
  method: "POST",
  path: "/api/v1/tokens",
  body: NewToken,
  response: Type.Object({ ...Token.properties, token: Type.String({ description: "Shown this once." }) }),
  status: 201,
  permission: "tokens.write",
  summary: "Make a service token, which may never do more than whoever makes it",
});

export const revokeToken = defineRoute({
  method: "DELETE",
  path: "/api/v1/tokens/:id",
  params: Type.Object({ id: Type.String() }),
  response: Token,
  permission: "tokens.write",
  summary: "End a token",
});
