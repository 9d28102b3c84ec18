/**
 * Who may do what: roles, the permissions that each has, and bindings that give a role to a person, a team or a service
 * token, everywhere or within a scope. This table is the only place that says which role a permission takes; the server
 * decides with it, and a client may hide with it what would be refused.
 */
import { type Static, Type } from "typebox";

/** From least to most: each role may do all that those before it may. */
export const roles = ["viewer", "developer", "operator", "admin"] as const;
export const Role = Type.Enum([...roles], {
  description:
    "viewer reads; developer runs pipelines and has stacks; operator changes environments; admin gives access",
});
export type Role = (typeof roles)[number];

/** The least role of each permission; `public` and `self` are routes that take none. A permission's name is `noun.verb`. */
export const permissions = {
  "events.read": "viewer",
  "repositories.read": "viewer",
  "repositories.write": "operator",
  "runs.read": "viewer",
  "runs.start": "developer",
  "runs.cancel": "developer",
  "runs.approve": "operator",
  "secrets.read": "operator",
  "secrets.write": "operator",
  "webhooks.read": "operator",
  "webhooks.write": "operator",
  "notifications.read": "operator",
  "notifications.write": "operator",
  "tokens.read": "admin",
  "tokens.write": "admin",
  "bindings.read": "admin",
  "bindings.write": "admin",
  "audit.read": "admin",
} as const satisfies Record<string, Role>;
export type Permission = keyof typeof permissions;

const names = (what: string) =>
  Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
      minItems: 1,
      description: `${what} that the role is for; \`payments-*\` is every one that begins so. All unless given.`,
    }),
  );

/** Where a role counts. What a scope does not name is not limited. */
export const Scope = Type.Object(
  { services: names("Services"), environments: names("Environments"), tenants: names("Tenants") },
  { additionalProperties: false },
);
export type Scope = Static<typeof Scope>;

/** Who a role is given to. */
export const Subject = Type.Object(
  {
    kind: Type.Enum(["user", "team", "token"]),
    name: Type.String({
      minLength: 1,
      maxLength: 253,
      description: "A user's `sub` at the identity provider, a team's name, or a service token's id",
    }),
  },
  { additionalProperties: false },
);
export type Subject = Static<typeof Subject>;

export const Binding = Type.Object(
  { subject: Subject, role: Role, scope: Scope },
  { additionalProperties: false },
);
export type Binding = Static<typeof Binding>;
