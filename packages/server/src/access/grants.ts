/** The decision whether somebody may do something: a pure function of bindings. Nothing else in the server decides it. */
import { type Grant, type Permission, permissions, type Role, roles, type Scope } from "@kws/api/access";

/** What is acted on. A dimension that the thing does not have, or that is not known, is left out. */
export interface Resource {
  service?: string;
  environment?: string;
  tenant?: string;
}

/**
 * True where one grant is enough: its role has the permission, and every dimension that its scope limits is one that the
 * resource has, with a name that the scope lists. So a role for one service is none for what belongs to no service.
 */
export function isAllowed(grants: readonly Grant[], permission: Permission, resource: Resource): boolean {
  return grants.some(({ role, scope }) => hasPermission(role, permission) && covers(scope, resource));
}

/** True where a grant has the permission for some resources at least: such an actor may ask for a list, of what it may see. */
export function isAllowedSomewhere(grants: readonly Grant[], permission: Permission): boolean {
  return grants.some(({ role }) => hasPermission(role, permission));
}

export function hasPermission(role: Role, permission: Permission): boolean {
  return roles.indexOf(role) >= roles.indexOf(permissions[permission]);
}

/**
 * The grants of a token whose owner has `owner` and that was made with `wanted`: never more than the owner has at the time
 * of use, so that a token does not outlive its maker's rights.
 */
export function limitedTo(wanted: readonly Grant[], owner: readonly Grant[]): Grant[] {
  return wanted.flatMap((grant) =>
    owner.flatMap((own) => {
      const scope = intersect(grant.scope, own.scope);
      if (scope === undefined) return [];
      return [{ role: lesser(grant.role, own.role), scope }];
    }),
  );
}

function covers(scope: Scope, { service, environment, tenant }: Resource): boolean {
  return (
    lists(scope.services, service) && lists(scope.environments, environment) && lists(scope.tenants, tenant)
  );
}

function lists(patterns: readonly string[] | undefined, name: string | undefined): boolean {
  if (patterns === undefined) return true;
  return name !== undefined && patterns.some((pattern) => matches(pattern, name));
}

/** `payments-*` matches what begins with `payments-`; anything else is a whole name. */
function matches(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function lesser(one: Role, other: Role): Role {
  return roles.indexOf(one) <= roles.indexOf(other) ? one : other;
}

/** Undefined where the two have nothing in common. */
function intersect(one: Scope, other: Scope): Scope | undefined {
  const scope: Scope = {};
  for (const dimension of ["services", "environments", "tenants"] as const) {
    const common = intersectPatterns(one[dimension], other[dimension]);
    if (common?.length === 0) return undefined;
    if (common !== undefined) scope[dimension] = common;
  }
  return scope;
}

function intersectPatterns(one: string[] | undefined, other: string[] | undefined): string[] | undefined {
  if (one === undefined) return other;
  if (other === undefined) return one;
  const narrower = [
    ...one.filter((pattern) => other.some((wider) => isWithin(pattern, wider))),
    ...other.filter((pattern) => one.some((wider) => isWithin(pattern, wider))),
  ];
  return [...new Set(narrower)];
}

/** Every name that `pattern` matches, `wider` matches too. */
function isWithin(pattern: string, wider: string): boolean {
  return wider.endsWith("*") ? pattern.startsWith(wider.slice(0, -1)) : pattern === wider;
}
