import { describe, expect, it } from "vitest";
import { SopsError } from "./errors.ts";
import { openKeyring } from "./keyring.ts";
import type { Key, KeyService, KeyServices } from "./keys/key.ts";

/** Services that wrap by writing the key's name before the data, and know only some keys. */
function services(known: string[], calls: string[] = []): KeyServices {
  const service: KeyService = {
    wrap: (key, data) => Promise.resolve({ key, enc: `${nameOf(key)}:${Buffer.from(data).toString("hex")}` }),
    async unwrap({ key, enc }, { signal }) {
      await Promise.resolve();
      signal?.throwIfAborted();
      calls.push(nameOf(key));
      if (known.includes(nameOf(key))) return Buffer.from(enc.slice(enc.indexOf(":") + 1), "hex");
      throw new SopsError("couldNotRetrieveKey", `there is no identity for ${nameOf(key)}`, {
        fix: "Find it.",
      });
    },
  };
  const kinds = ["age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"] as const;
  return Object.fromEntries(kinds.map((kind) => [kind, service])) as KeyServices;
}

function nameOf(key: Key): string {
  return key.type === "age"
    ? key.recipient
    : key.type === "pgp"
      ? key.fp
      : key.type === "kms"
        ? key.arn
        : key.type;
}

const age = (recipient: string): Key => ({ type: "age", recipient });
const pgp = (fp: string): Key => ({ type: "pgp", fp });
const kms = (arn: string): Key => ({ type: "kms", arn });

describe("a data key", () => {
  it("is unwrapped by any key of the only group, what is local first", async () => {
    const calls: string[] = [];
    const keyring = openKeyring({ services: services(["B", "arn"], calls) });
    const wrapped = await keyring.wrap([[kms("arn"), pgp("B"), age("a")]], 0);
    expect(wrapped.shamirThreshold).toBe(0);
    expect(await keyring.dataKey(wrapped)).toEqual(wrapped.dataKey);
    expect(calls).toEqual(["a", "B"]);
  });

  it("is unwrapped once for many callers, at once or later", async () => {
    const calls: string[] = [];
    const keyring = openKeyring({ services: services(["a"], calls) });
    const wrapped = await keyring.wrap([[age("a")]], 0);
    await Promise.all(Array.from({ length: 500 }, () => keyring.dataKey(wrapped)));
    await keyring.dataKey(wrapped);
    expect(calls).toEqual(["a"]);
  });

  it("is asked for again after a failure", async () => {
    const known: string[] = [];
    const keyring = openKeyring({ services: services(known) });
    const wrapped = await keyring.wrap([[age("a")]], 0);
    await expect(keyring.dataKey(wrapped)).rejects.toThrow("no identity for a");
    known.push("a");
    expect(await keyring.dataKey(wrapped)).toEqual(wrapped.dataKey);
  });

  it("that no key opens is told with all that was tried, exit code 128, the place and what to do", async () => {
    const keyring = openKeyring({ services: services([]) });
    const wrapped = await keyring.wrap([[age("a"), pgp("B")]], 0);
    const error = await keyring.dataKey(wrapped, "x.yaml").catch((error: unknown) => error as SopsError);
    expect(error).toMatchObject({ exitCode: 128, at: "x.yaml", fix: "Find it." });
    expect((error as SopsError).message).toMatch(/no identity for a\n.*no identity for B/);
  });

  it("is given up when the run is", async () => {
    const controller = new AbortController();
    const keyring = openKeyring({ services: services(["a"]), signal: controller.signal });
    const wrapped = await keyring.wrap([[age("a")]], 0);
    controller.abort(new Error("interrupted"));
    await expect(keyring.dataKey(wrapped)).rejects.toThrow("interrupted");
  });
});

describe("several groups", () => {
  const groups = [[age("a1"), age("a2")], [pgp("B")], [kms("arn")]];

  it("open with as many as the threshold says", async () => {
    const wrapped = await openKeyring({ services: services([]) }).wrap(groups, 2);
    const two = openKeyring({ services: services(["a2", "arn"]) });
    expect(await two.dataKey(wrapped)).toEqual(Uint8Array.from(wrapped.dataKey));
    const one = openKeyring({ services: services(["B"]) });
    await expect(one.dataKey(wrapped)).rejects.toThrow("1 of the 2 needed key groups open");
  });

  it("are all needed where there is no threshold", async () => {
    const wrapped = await openKeyring({ services: services([]) }).wrap(groups, 0);
    expect(wrapped.shamirThreshold).toBe(3);
    const two = openKeyring({ services: services(["a1", "B"]) });
    await expect(two.dataKey(wrapped)).rejects.toThrow("2 of the 3 needed");
  });

  it("whose shares were cut off are told", async () => {
    const wrapped = await openKeyring({ services: services([]) }).wrap(groups, 2);
    const broken = wrapped.keyGroups.map((group) =>
      group.map(({ key }) => ({ key, enc: `${nameOf(key)}:00` })),
    );
    const keyring = openKeyring({ services: services(["a1", "B"]) });
    await expect(keyring.dataKey({ keyGroups: broken, shamirThreshold: 2 })).rejects.toMatchObject({
      exitCode: 128,
    });
  });

  it.each([1, 4])("of three refuse a threshold of %d", async (threshold) => {
    const keyring = openKeyring({ services: services([]) });
    await expect(keyring.wrap(groups, threshold)).rejects.toThrow("2 to 3");
  });

  it("refuse an empty one", async () => {
    const keyring = openKeyring({ services: services([]) });
    await expect(keyring.wrap([[age("a")], []], 0)).rejects.toMatchObject({ exitCode: 111 });
    await expect(keyring.wrap([], 0)).rejects.toMatchObject({ exitCode: 111 });
  });
});
