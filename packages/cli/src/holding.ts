/** What commands do about services in development mode. */
import type { Hold } from "@kws/platform/services/held";
import type { Holder } from "@kws/platform/services/lease";

/** Whether the person who runs this command began it, in this terminal or another one. */
export function isOwn({ by }: Hold, { user, host }: Holder): boolean {
  return by.split(" ")[0] === `${user}@${host}`;
}
