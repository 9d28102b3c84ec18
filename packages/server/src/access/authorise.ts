/** The one place that decides whether a caller may do something. */
import type { Permission } from "@kws/api/permissions";
import type { Actor } from "./actor.ts";

/** What it is to be done to. */
export interface Scope {
  team?: string;
}

export type Authorise = (actor: Actor, permission: Permission, scope: Scope) => Promise<void>;

/** The owner of the machine may do everything; there is nobody else yet. */
export const authoriseOwner: Authorise = () => Promise.resolve();
