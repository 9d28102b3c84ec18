import { expect, test } from "vitest";
import type { Context } from "./context.ts";
import { chosen, keyChanges } from "./sealing.ts";

const within = (env: NodeJS.ProcessEnv) => ({ env }) as Context;
const arn = "arn:aws:kms:us-east-1:123456789012:key/a";

test("flags name keys of every kind, and win over the variables of sops", () => {
  const env = { SOPS_AGE_RECIPIENTS: "age1env", SOPS_KMS_ARN: arn };
  const { keys, context } = chosen(within(env), {
    age: "age1a, age1b",
    "gcp-kms": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
    "aws-profile": "ops",
    "encryption-context": "app:shop,stage:qa",
  });
  const pairs = { app: "shop", stage: "qa" };
  expect(keys).toEqual([
    { type: "age", recipient: "age1a" },
    { type: "age", recipient: "age1b" },
    { type: "kms", arn, aws_profile: "ops", context: pairs },
    { type: "gcp_kms", resource_id: "projects/p/locations/l/keyRings/r/cryptoKeys/k" },
  ]);
  expect(context).toEqual(pairs);
});

test("what is not said, or empty, is left to the creation rule", () => {
  expect(chosen(within({}), { "encrypted-regex": "", "shamir-secret-sharing-threshold": 0 })).toEqual({
    keys: [],
    selection: {},
  });
  expect(chosen(within({}), { "unencrypted-suffix": "_open" }).selection).toEqual({
    unencrypted_suffix: "_open",
  });
});

test("an encryption context that is none is refused with the exit code of sops", () => {
  expect(() => chosen(within({}), { kms: arn, "encryption-context": "app" })).toThrow(
    expect.objectContaining({ exitCode: 6 }),
  );
});

test("keys are added and removed by kind", () => {
  expect(
    keyChanges({ "add-age": "age1a", "rm-pgp": "0123456789ABCDEF", "rm-hckms": "tr-west-1:ab-1" }),
  ).toEqual({
    add: [{ type: "age", recipient: "age1a" }],
    remove: [
      { type: "pgp", fp: "0123456789ABCDEF" },
      { type: "hckms", key_id: "tr-west-1:ab-1" },
    ],
  });
});
