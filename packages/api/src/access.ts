/**
 * Who may do what: roles, the permissions that each has, and the scope within which somebody has
 * one. This table is the only place that says which role a permission takes; the server
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
  "users.read": "admin",
  "users.write": "admin",
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

/** A role as somebody has it, by whatever binding. */
export const Grant = Type.Object({ role: Role, scope: Scope }, { additionalProperties: false });
export type Grant = Static<typeof Grant>;
