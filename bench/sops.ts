/** Decryption of SOPS files with the key at hand, in the process itself: no other program is started. */
import { decrypt, encrypt } from "@kws/sops/file";
import { openKeyring } from "@kws/sops/keyring";
import { openKeyServices } from "@kws/sops/keys/services";
import { ageKeys } from "@kws/sops/testing/keyring";
import { type Measurement, repeat, summarize, time } from "./measure.ts";

export async function measure(): Promise<Measurement[]> {
  const { keyring, key, identity } = await ageKeys();
  const services = openKeyServices({ env: { SOPS_AGE_KEY: identity }, home: "/", cwd: "/", clock: Date.now });
  const groups = [[key]];
  const now = new Date();
  const lines = Array.from({ length: 1000 }, (_, index) => `    key${index}: value of the key ${index}\n`);
  const large = await encrypt(`values:\n${lines.join("")}`, { format: "yaml", keyring, groups, now });
  const small = await encrypt("user: shop\npassword: s3cret\n", { format: "yaml", keyring, groups, now });

  const open = (content: string): Promise<unknown> => decrypt(content, { format: "yaml", keyring });
  const afresh = async (): Promise<unknown> => {
    const fresh = openKeyring({ services });
    return Promise.all(Array.from({ length: 500 }, () => decrypt(small, { format: "yaml", keyring: fresh })));
  };
  await open(large);
  await afresh();
  return [
    summarize("decrypt a file of 1,000 values", "ms", await repeat(20, () => time(() => open(large))), {
      atMost: 50,
    }),
    summarize("decrypt 500 files that share a key", "ms", await repeat(10, () => time(afresh)), {
      atMost: 2000,
    }),
  ];
}
