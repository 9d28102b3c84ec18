/**
 * Admission: what the cluster adds to objects and what it refuses, after defaults and before validation. Left out:
 * PodSecurity and NodeRestriction. Webhooks stand in a file of their own. The existence of the namespace is checked by the server itself.
 */
import { allocateService } from "./addresses.ts";
import type { AdmissionContext } from "./context.ts";
import { applyLimitRanges } from "./limits.ts";
import { protectNamespaces } from "./namespaces.ts";
import { setRequester, setStorageClass, setTolerationSeconds } from "./defaults.ts";
import { resolvePriority } from "./priority.ts";
import { enforceQuota } from "./quota.ts";
import { setServiceAccount } from "./service-account.ts";

export type { AdmissionContext } from "./context.ts";

/** In upstream's order: what fills in comes before what counts. */
const steps: ((context: AdmissionContext) => void | Promise<void>)[] = [
  protectNamespaces,
  applyLimitRanges,
  setServiceAccount,
  resolvePriority,
  setTolerationSeconds,
  setStorageClass,
  setRequester,
];

/** Changes `object` in place; throws `ApiError` when the request is refused. */
export async function admit(context: AdmissionContext): Promise<void> {
  for (const step of steps) await step(context);
}

/**
 * The last part of admission: what hands out or counts what there is only so much of. Synchronous, and to be followed by the
 * write in the same turn of the event loop: two requests at once never get the same address nor the last of a quota.
 */
export function claim(context: AdmissionContext): void {
  allocateService(context);
  enforceQuota(context);
}
