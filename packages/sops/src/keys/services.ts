/** The services of all kinds of keys, for one run of a program. */
import { openAge } from "./age.ts";
import { openExternal } from "./external.ts";
import type { KeyServices, KeyWorld } from "./key.ts";
import { openKms } from "./kms.ts";
import { openPgp } from "./pgp.ts";

/** Reads and starts nothing yet: a service looks for identities, or loads its client, when a key first needs it. */
export function openKeyServices(world: KeyWorld): KeyServices {
  const external = openExternal(world);
  return {
    age: openAge(world),
    pgp: openPgp(world),
    kms: openKms(world),
    gcp_kms: external,
    azure_kv: external,
    hc_vault: external,
    hckms: external,
  };
}
