/** One session at a time has a service: a Lease beside it says who. */
import { UserError } from "@kws/base/errors";
import { leaseName } from "../services/held.ts";
import { serviceLabel } from "../services/labels.ts";
import {
  describeHolder,
  heldSince,
  type HeldLease,
  holdLease,
  isHeld,
  type LeaseOptions,
  tryTakeLease,
} from "../services/lease.ts";

export interface ClaimOptions extends Pick<
  LeaseOptions,
  "client" | "namespace" | "holder" | "signal" | "clock"
> {
  /** Ends the session of whoever has the service. */
  takeOver: boolean;
}

/** Throws `conflict` with who has the service; a session that was killed has it no longer. */
export async function claim(service: string, options: ClaimOptions): Promise<HeldLease> {
  const { holder, takeOver, clock } = options;
  const lease = { ...options, name: leaseName(service), labels: { [serviceLabel]: service } };
  const other = await tryTakeLease(lease);
  if (other !== undefined) {
    const taken = () =>
      new UserError(`${describeHolder(other)} develops ${service} since ${heldSince(other)}`, {
        code: "conflict",
        fix: `Ask them, or take it over with \`kws service up ${service} --take-over\`.`,
      });
    if (!takeOver && isHeld(other, holder.host, clock())) throw taken();
    if ((await tryTakeLease(lease, other.metadata.resourceVersion)) !== undefined) throw taken();
  }
  return holdLease({
    ...lease,
    until: "taken",
    lost: (why) =>
      new UserError(`${service} is not yours any more: ${why}`, {
        code: "conflict",
        fix: `Begin again with \`kws service up ${service}\`.`,
      }),
  });
}
