/** What the commands on roles, tokens and the audit log share: options of a scope, and tables. */
import { type Scope, roles } from "@kws/api/access";
import type { AuditEntry } from "@kws/api/audit";
import type { Binding } from "@kws/api/bindings";
import type { Token } from "@kws/api/tokens";
import type { User } from "@kws/api/users";
import { UserError } from "@kws/base/errors";
import { printable } from "./style.ts";

type Table = { columns: string[]; rows: string[][] };

export const roleArgument = { name: "role", description: roles.join(", "), required: true } as const;

export const scopeOptions = {
  service: {
    type: "list",
    value: "name",
    description: "for this service alone; `web-*` for all that begin so",
  },
  environment: { type: "list", value: "name", description: "for this environment alone" },
  tenant: { type: "list", value: "name", description: "for this tenant alone" },
} as const;

export function scopeOf(options: { service?: string[]; environment?: string[]; tenant?: string[] }): Scope {
  const { service, environment, tenant } = options;
  return {
    ...(service === undefined ? {} : { services: service }),
    ...(environment === undefined ? {} : { environments: environment }),
    ...(tenant === undefined ? {} : { tenants: tenant }),
  };
}

export function roleNamed(name: string): (typeof roles)[number] {
  const role = roles.find((one) => one === name);
  if (role !== undefined) return role;
  throw new UserError(`"${name}" is no role`, { code: "usage", fix: `Give one of ${roles.join(", ")}.` });
}

export function describeScope({ services, environments, tenants }: Scope): string {
  const parts = [
    ...(services === undefined ? [] : [`services ${services.join(", ")}`]),
    ...(environments === undefined ? [] : [`environments ${environments.join(", ")}`]),
    ...(tenants === undefined ? [] : [`tenants ${tenants.join(", ")}`]),
  ];
  return parts.length === 0 ? "everything" : parts.join("; ");
}

export function tokenTable(tokens: Token[]): Table {
  return {
    columns: ["ID", "NAME", "KIND", "ROLE", "FOR", "STATE", "EXPIRES", "USED"],
    rows: tokens.map(({ id, name, kind, role = "", scope, state, expiresAt, usedAt = "" }) => [
      id,
      printable(name),
      kind,
      role,
      scope === undefined ? "" : describeScope(scope),
      state,
      expiresAt,
      usedAt,
    ]),
  };
}

export function bindingTable(bindings: Binding[]): Table {
  return {
    columns: ["ID", "SUBJECT", "ROLE", "FOR"],
    rows: bindings.map(({ id, subject, role, scope }) => [
      id,
      `${subject.kind} ${printable(subject.name)}`,
      role,
      describeScope(scope),
    ]),
  };
}

export function userTable(users: User[]): Table {
  return {
    columns: ["SUBJECT", "NAME", "E-MAIL", "TEAMS", "STATE", "SIGNED IN"],
    rows: users.map(({ subject, name, email = "", teams, disabled, signedInAt }) => [
      ...[subject, name, email, teams.join(", ")].map(printable),
      disabled ? "disabled" : "enabled",
      signedInAt,
    ]),
  };
}

export function auditTable(entries: AuditEntry[]): Table {
  return {
    columns: ["AT", "WHO", "ACTION", "SUBJECT", "WHY"],
    rows: entries.map(({ at, actor, action, subject, why = "" }) =>
      [at, actor.name, action, subject, why].map(printable),
    ),
  };
}
