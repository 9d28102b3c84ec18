/** The one place that refuses what a caller may not do. */
import type { Route } from "@kws/api/route";
import { UserError } from "@kws/base/errors";
import type { Actor } from "./actor.ts";
import { isAllowed, isAllowedSomewhere, type Resource } from "./grants.ts";

/** Without a resource: whether there is any that the caller may do it to. */
export function authorise(
  { grants }: Actor,
  { permission }: Pick<Route, "permission">,
  resource: Resource | undefined,
): void {
  if (permission === "public" || permission === "self") return;
  const allowed =
    resource === undefined ? isAllowedSomewhere(grants, permission) : isAllowed(grants, permission, resource);
  if (allowed) return;
  throw new UserError(`you may not do this: it takes the permission ${permission}`, {
    code: "permission",
    fix: "Ask an admin of the server for a role that has it.",
  });
}
