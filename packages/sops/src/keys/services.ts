/** The services of all kinds of keys, for one run of a program. */
import { openAge } from "./age.ts";
import { openPgp } from "./pgp.ts";
import type { KeyServices, KeyWorld } from "./key.ts";

/** Opens nothing yet: every service reads its identities, or loads its client, when a key first asks for it. */
export function openKeyServices(world: KeyWorld): Pick<KeyServices, "age" | "pgp"> {
  return { age: openAge(world), pgp: openPgp(world) };
}
