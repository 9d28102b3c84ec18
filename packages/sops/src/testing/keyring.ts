/** Keys for tests: an age identity of its own for every call, and a service that counts what it is asked. */
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { openKeyring, type Keyring } from "../keyring.ts";
import type { Key, KeyServices } from "../keys/key.ts";
import { openKeyServices } from "../keys/services.ts";

export interface TestKeys {
  keyring: Keyring;
  key: Key;
  /** The private key. */
  identity: string;
  /** Unwraps so far. */
  unwraps(): number;
}

/** A keyring that holds one new age identity. */
export async function ageKeys(): Promise<TestKeys> {
  const identity = await generateX25519Identity();
  const recipient = await identityToRecipient(identity);
  const world = { env: { SOPS_AGE_KEY: identity }, home: "/nowhere", cwd: "/", clock: () => 0 };
  let unwraps = 0;
  const real = openKeyServices(world);
  const services: KeyServices = {
    ...real,
    age: {
      ...real.age,
      unwrap: (wrapped, call) => {
        unwraps++;
        return real.age.unwrap(wrapped, call);
      },
    },
  };
  return {
    keyring: openKeyring({ services }),
    key: { type: "age", recipient },
    identity,
    unwraps: () => unwraps,
  };
}
