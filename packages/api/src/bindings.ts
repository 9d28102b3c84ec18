/** Bindings: which role a user or a team has, everywhere or within a scope. */
import { type Static, Type } from "typebox";
import { Role, Scope } from "./access.ts";
import { Page, pageQuery } from "./page.ts";
import { defineRoute } from "./route.ts";

/** Who a role is given to. */
export const Subject = Type.Object(
  {
    kind: Type.Enum(["user", "team"]),
    name: Type.String({
      minLength: 1,
      maxLength: 253,
      description: "A user's `sub` at the identity provider, or a team's name there",
    }),
  },
  { additionalProperties: false },
);
export type Subject = Static<typeof Subject>;

export const NewBinding = Type.Object(
  { subject: Subject, role: Role, scope: Scope },
  { additionalProperties: false },
);

export const Binding = Type.Object({
  id: Type.String(),
  ...NewBinding.properties,
  createdAt: Type.String(),
});
export type Binding = Static<typeof Binding>;

export const listBindings = defineRoute({
  method: "GET",
  path: "/api/v1/bindings",
  query: Type.Object({ ...pageQuery }),
  response: Page(Binding),
  permission: "bindings.read",
  summary: "Who has which role, and where",
});

export const addBinding = defineRoute({
  method: "POST",
  path: "/api/v1/bindings",
  body: NewBinding,
  response: Binding,
  status: 201,
  permission: "bindings.write",
  summary: "Give a role",
});

export const removeBinding = defineRoute({
  method: "DELETE",
  path: "/api/v1/bindings/:id",
  params: Type.Object({ id: Type.String({ format: "uuid" }) }),
  response: Binding,
  permission: "bindings.write",
  summary: "Take a role away",
});
